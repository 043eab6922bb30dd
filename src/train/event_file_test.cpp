#include "train/event_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dataset/tfrecord.h"
#include "storage/fake_store.h"

namespace atl::train {
namespace {

// Takes the framing apart, as TensorBoard does.
std::vector<std::string> read_records(std::string_view file) {
  std::vector<std::string> records;
  while (!file.empty()) {
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = (length << 8) | static_cast<unsigned char>(file[i]);
    const auto data = records.emplace_back(file.substr(12, length));
    EXPECT_EQ(dataset::frame_tfrecord(data), file.substr(0, 16 + length));
    file.remove_prefix(16 + length);
  }
  return records;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

TEST(EventFile, scalars_are_what_protoc_encodes_and_a_restart_is_marked) {
  storage::FakeStore store;
  auto file = EventFile::open(store, 1700000000.5, 40);
  ASSERT_TRUE(file);
  const std::vector<Scalar> scalars = {{"loss", 0.25}, {"learning_rate", 0.5}};
  file->add(300, 1700000001, scalars);
  ASSERT_TRUE(file->flush());
  std::string key;
  ASSERT_TRUE(store.list("events.out.tfevents.1700000000.", [&](const storage::ObjectInfo& info) {
    key = info.key;
    return true;
  }));
  const auto blob = store.get(key);
  ASSERT_TRUE(blob);
  const auto records = read_records(blob->text());
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(hex(records[0]), "0900002040fc54d94110001a0d627261696e2e4576656e743a32");
  EXPECT_EQ(hex(records[1]), "0900002040fc54d94110283a020801");
  EXPECT_EQ(hex(records[2]),
            "0900004040fc54d94110ac022a230a0b0a046c6f7373150000803e0a140a0d6c6561726e696e675f726174"
            "65150000003f");
}

TEST(AppendLog, keeps_the_first_bytes_of_what_was_there) {
  storage::FakeStore store;
  ASSERT_TRUE(storage::put_text(store, "log", "one\ntwo\nthree\n"));
  auto log = AppendLog::open(store, "log", 8);
  ASSERT_TRUE(log);
  log->add("drei\n");
  EXPECT_EQ(log->size_bytes(), 13U);
  ASSERT_TRUE(log->flush());
  EXPECT_EQ(store.get("log")->text(), "one\ntwo\ndrei\n");
}

TEST(AppendLog, a_refused_append_is_tried_again_and_nothing_is_lost) {
  storage::FakeStore store;
  auto log = AppendLog::open(store, "log");
  ASSERT_TRUE(log);
  log->add("one\n");
  store.fail_call(1, Error{ErrorCode::kIo, "no space left", "", {}});
  EXPECT_FALSE(log->flush());
  log->add("two\n");
  ASSERT_TRUE(log->flush());
  EXPECT_EQ(store.get("log")->text(), "one\ntwo\n");
}

}  // namespace
}  // namespace atl::train
