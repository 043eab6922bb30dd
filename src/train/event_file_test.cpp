#include "train/event_file.h"

#include <gtest/gtest.h>

#include "storage/fake_store.h"
#include "train/tensorboard.pb.h"

namespace atl::train {
namespace {

TEST(EventFile, crc32c_gives_the_check_value_of_its_definition) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
}

// A reader of its own: what TensorBoard does.
std::vector<tensorboard::Event> read_events(std::string_view file) {
  std::vector<tensorboard::Event> events;
  while (!file.empty()) {
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = (length << 8) | static_cast<unsigned char>(file[i]);
    const auto data = file.substr(12, length);
    EXPECT_EQ(tfrecord(data), file.substr(0, 16 + length));
    EXPECT_TRUE(events.emplace_back().ParseFromArray(data.data(), static_cast<int>(data.size())));
    file.remove_prefix(16 + length);
  }
  return events;
}

TEST(EventFile, scalars_come_back_and_a_restart_is_marked) {
  storage::FakeStore store;
  auto file = EventFile::open(store, 1700000000.5, 40);
  ASSERT_TRUE(file);
  const std::vector<Scalar> scalars = {{"loss", 0.25}, {"learning_rate", 0.5}};
  file->add(41, 1700000001, scalars);
  ASSERT_TRUE(file->flush());
  std::string key;
  ASSERT_TRUE(store.list("events.out.tfevents.1700000000.", [&](const storage::ObjectInfo& info) {
    key = info.key;
    return true;
  }));
  const auto blob = store.get(key);
  ASSERT_TRUE(blob);
  const auto events = read_events(blob->text());
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[1].session_log().status(), tensorboard::SessionLog::START);
  EXPECT_EQ(events[1].step(), 40);
  EXPECT_EQ(events[2].step(), 41);
  EXPECT_EQ(events[2].summary().value(0).tag(), "loss");
  EXPECT_EQ(events[2].summary().value(1).simple_value(), 0.5F);
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
