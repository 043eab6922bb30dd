#include "dataset/tfrecord_index.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "dataset/coco_builder.h"
#include "dataset/tfrecord_dataset.h"
#include "dataset/tfrecord_fixture.h"
#include "dataset/tfrecord_store.h"
#include "storage/fake_store.h"
#include "storage/local_store.h"

namespace atl::dataset {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// Which files were read, by several stores of one test.
struct Reads {
  std::mutex mutex;
  std::vector<std::string> keys;

  void add(std::string_view key) {
    const std::lock_guard lock(mutex);
    keys.emplace_back(key);
  }
};

class CountingStore : public storage::LocalStore {
 public:
  CountingStore(const std::string& root, Reads& reads) : LocalStore(root), reads_(reads) {}
  Result<storage::Blob> get(std::string_view key) override {
    reads_.add(key);
    return LocalStore::get(key);
  }

 private:
  Reads& reads_;
};

class TfrecordIndexes : public testing::Test {
 protected:
  TfrecordIndexes() {
    std::string name = (fs::temp_directory_path() / "atoll-tfindex-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    fs::create_directory(folder_ / "data");
    options_.cache_folder = (folder_ / "cache").string();
    options_.index_from_bytes = 0;
    options_.threads = 2;
    options_.note = [this](const std::string& note) { notes_.push_back(note); };
    write("data/train-00000-of-00002.tfrecord",
          MadeRecord{"12", "b.png", {2, 3}, {"two", "three"}}.record() +
              MadeRecord{"11", "a.png", {2}, {"zwei"}}.record());
    write("data/train-00001-of-00002.tfrecord", MadeRecord{"13", "../c.png", {}, {}}.record());
  }
  ~TfrecordIndexes() override {
    fs::permissions(folder_, fs::perms::owner_all, fs::perm_options::add);
    fs::remove_all(folder_);
  }

  void write(const std::string& name, std::string_view bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  std::string contents(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  Result<TfrecordDataset> try_open() {
    return open_tfrecords(
        std::make_unique<CountingStore>((folder_ / "data").string(), reads_), "", options_);
  }
  TfrecordDataset open() {
    auto records = try_open();
    EXPECT_TRUE(records) << records.error().to_string();
    return std::move(*records);
  }
  // The shards that `work` reads as a whole.
  template <typename Work>
  size_t shards_read(Work work) {
    const auto before = static_cast<ptrdiff_t>(reads_.keys.size());
    work();
    return static_cast<size_t>(
        std::count_if(reads_.keys.begin() + before, reads_.keys.end(), [](const std::string& key) {
          return key.ends_with(".tfrecord");
        }));
  }
  std::vector<fs::path> cached_files() const {
    std::vector<fs::path> files;
    if (!fs::is_directory(options_.cache_folder)) return files;
    for (const auto& entry : fs::directory_iterator(options_.cache_folder)) {
      files.push_back(entry.path());
    }
    return files;
  }
  // Every way to look at records.
  void expect_equal(const TfrecordDataset& a, const TfrecordDataset& b) {
    EXPECT_EQ(to_json(a.dataset), to_json(b.dataset));
    EXPECT_EQ(a.notes, b.notes);
    EXPECT_EQ(a.bad_records, b.bad_records);
    EXPECT_EQ(a.bad_record_count, b.bad_record_count);
    EXPECT_EQ(a.pattern, b.pattern);
    EXPECT_EQ(a.missing_shards, b.missing_shards);
    EXPECT_EQ(a.serves_as_both, b.serves_as_both);
    EXPECT_EQ(a.categories_are_listed, b.categories_are_listed);
    for (const auto image : a.dataset.images()) {
      EXPECT_EQ(a.store->get(image.file_name)->text(), b.store->get(image.file_name)->text());
      EXPECT_EQ(a.store->head(image.file_name)->etag, b.store->head(image.file_name)->etag);
    }
    EXPECT_EQ(listed(*a.store), listed(*b.store));
  }
  static std::vector<std::string> listed(storage::ObjectStore& store) {
    std::vector<std::string> keys;
    EXPECT_TRUE(store.list("", [&](const storage::ObjectInfo& info) {
      keys.push_back(info.key);
      return true;
    }));
    return keys;
  }

  fs::path folder_;
  Reads reads_;
  TfrecordOptions options_;
  std::vector<std::string> notes_;
};

TEST_F(TfrecordIndexes, give_a_second_start_the_same_without_reading_a_shard) {
  std::optional<TfrecordDataset> first;
  EXPECT_EQ(shards_read([&] { first.emplace(open()); }), 2U);
  EXPECT_THAT(cached_files(), SizeIs(1));
  std::optional<TfrecordDataset> second;
  EXPECT_EQ(shards_read([&] { second.emplace(open()); }), 0U);
  EXPECT_THAT(notes_, IsEmpty());
  expect_equal(*first, *second);
  EXPECT_THAT(listed(*second->store), ElementsAre("000000000013.png", "a.png", "b.png"));
  EXPECT_THAT(second->notes,
              ElementsAre(AllOf(HasSubstr((folder_ / "data").string()), HasSubstr("\"zwei\"")),
                          HasSubstr("1 images are called by their ids")));
  options_.cache_folder.clear();
  std::optional<TfrecordDataset> without;
  EXPECT_EQ(shards_read([&] { without.emplace(open()); }), 2U);
  expect_equal(*without, *second);
}

TEST_F(TfrecordIndexes, are_mapped_so_that_the_processes_of_a_machine_share_them) {
  // From a MiB on a file is mapped.
  write("data/train-00000-of-00002.tfrecord",
        MadeRecord{"1", "a.png", std::vector<int64_t>(20'000, 7), {}}.record());
  const auto first = open();
  const auto second = open();
  for (const TfrecordDataset* records : {&first, &second}) {
    const auto address = reinterpret_cast<uintptr_t>(records->dataset.annotations().data());
    std::string name;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      uintptr_t begin = 0;
      uintptr_t end = 0;
      char dash = 0;
      std::istringstream(line) >> std::hex >> begin >> dash >> end;
      if (begin <= address && address < end) name = line;
    }
    EXPECT_THAT(name, HasSubstr(cached_files().at(0).string()));
  }
}

TEST_F(TfrecordIndexes, of_changed_shards_are_made_again) {
  open();
  // The same size, at another time.
  const fs::path shard = folder_ / "data/train-00000-of-00002.tfrecord";
  const std::string changed = MadeRecord{"12", "b.png", {2, 3}, {"two", "three"}}.record() +
                              MadeRecord{"10", "a.png", {2}, {"zwei"}}.record();
  ASSERT_EQ(changed.size(), fs::file_size(shard));
  write("data/train-00000-of-00002.tfrecord", changed);
  fs::last_write_time(shard, fs::last_write_time(shard) + std::chrono::nanoseconds(1));
  EXPECT_EQ(shards_read([&] { EXPECT_EQ(open().dataset.images()[1].id, 10); }), 2U);
  EXPECT_EQ(shards_read([&] { open(); }), 0U);
  // Another shard of the set.
  fs::remove(folder_ / "data/train-00001-of-00002.tfrecord");
  EXPECT_EQ(shards_read([&] { EXPECT_THAT(open().missing_shards, SizeIs(1)); }), 1U);
  EXPECT_EQ(shards_read([&] { EXPECT_THAT(open().missing_shards, SizeIs(1)); }), 0U);
}

TEST_F(TfrecordIndexes, belong_to_the_label_map_that_the_records_were_read_with) {
  EXPECT_EQ(open().dataset.categories()[0].name, "two");
  write("data/label_map.pbtxt", "item { id: 2 name: 'zwei' } item { id: 3 name: 'three' }");
  EXPECT_EQ(shards_read([&] { EXPECT_EQ(open().dataset.categories()[0].name, "zwei"); }), 2U);
  EXPECT_EQ(shards_read([&] { EXPECT_TRUE(open().categories_are_listed); }), 0U);
}

TEST_F(TfrecordIndexes, of_older_records_are_removed_when_nobody_can_use_them_any_more) {
  open();
  const auto older = cached_files();
  write("data/train-00001-of-00002.tfrecord", MadeRecord{"14", "c.png", {}, {}}.record());
  open();
  // Another host may have it mapped, with older copies of the records.
  EXPECT_THAT(cached_files(), SizeIs(2));
  fs::last_write_time(older.at(0), fs::file_time_type::clock::now() - std::chrono::hours(24 * 31));
  write("data/train-00001-of-00002.tfrecord", MadeRecord{"1234", "c.png", {}, {}}.record());
  open();
  EXPECT_THAT(cached_files(), AllOf(SizeIs(2), Not(testing::Contains(older.at(0)))));
}

TEST_F(TfrecordIndexes, that_are_damaged_are_made_again) {
  const auto expected = open();
  const fs::path file = cached_files().at(0);
  const std::string whole = contents(file);
  for (size_t at = 0; at < whole.size(); at += at < 400 ? 7 : 61) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    std::ofstream(file, std::ios::binary) << damaged;
    // But for the padding between sections, which is nobody's.
    const size_t read = shards_read([&] { expect_equal(expected, open()); });
    EXPECT_TRUE(read == 2 || whole[at] == '\0') << at;
    EXPECT_TRUE(read == 0 || contents(file) == whole) << at;
  }
  for (const size_t size : {size_t{0}, size_t{10}, size_t{200}, whole.size() - 1}) {
    std::ofstream(file, std::ios::binary) << whole.substr(0, size);
    EXPECT_EQ(shards_read([&] { expect_equal(expected, open()); }), 2U);
  }
  EXPECT_EQ(contents(file), whole);
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(TfrecordIndexes, that_are_anothers_are_made_again) {
  const auto expected = open();
  const fs::path file = cached_files().at(0);
  const std::string whole = contents(file);
  storage::LocalStore cache(options_.cache_folder);
  const std::string key = file.filename().string();
  const auto opened = open_index(cache.get(key).value(), key);
  ASSERT_TRUE(opened && opened->records);
  const auto expect_made_again = [&] {
    EXPECT_EQ(shards_read([&] { expect_equal(expected, open()); }), 2U);
    EXPECT_EQ(contents(file), whole);
  };
  // A JSON's, and one of records that are called the same.
  ASSERT_TRUE(write_index(expected.dataset, opened->source, cache, key));
  expect_made_again();
  IndexSource other = opened->source;
  ++other.hash;
  ASSERT_TRUE(write_index(expected.dataset, *opened->records, other, cache, key));
  expect_made_again();
  // Places beyond the shards.
  std::vector<RecordPlace> places(opened->records->table.places.begin(),
                                  opened->records->table.places.end());
  for (const uint64_t offset : {uint64_t{1} << 20, ~uint64_t{0}}) {
    auto beyond = places;
    beyond[1].offset = offset;
    IndexedRecords records = *opened->records;
    records.table.places = beyond;
    ASSERT_TRUE(write_index(expected.dataset, records, opened->source, cache, key));
    expect_made_again();
  }
  auto shardless = places;
  shardless[0].shard = 2;
  IndexedRecords records = *opened->records;
  records.table.places = shardless;
  ASSERT_TRUE(write_index(expected.dataset, records, opened->source, cache, key));
  expect_made_again();
  // Two images of one name, and a picture beyond its record.
  std::vector<uint32_t> twice = {2, 1, 1};
  records = *opened->records;
  records.table.by_name = twice;
  ASSERT_TRUE(write_index(expected.dataset, records, opened->source, cache, key));
  expect_made_again();
  auto outside = places;
  outside[0].encoded_bytes = outside[0].data_bytes;
  records = *opened->records;
  records.table.places = outside;
  ASSERT_TRUE(write_index(expected.dataset, records, opened->source, cache, key));
  expect_made_again();
}

TEST_F(TfrecordIndexes, a_cache_that_cannot_be_written_costs_one_note_only) {
  const auto expected = open();
  // A file where the folder should be, which stops root, too.
  fs::remove_all(options_.cache_folder);
  std::ofstream(options_.cache_folder) << "a file";
  EXPECT_EQ(shards_read([&] { expect_equal(expected, open()); }), 2U);
  EXPECT_THAT(notes_,
              ElementsAre(AllOf(HasSubstr("keeping an index of the records"),
                                HasSubstr(options_.cache_folder))));
}

TEST_F(TfrecordIndexes, a_cache_that_may_only_be_read_is_used) {
  const auto expected = open();
  fs::permissions(options_.cache_folder, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(shards_read([&] { expect_equal(expected, open()); }), 0U);
  fs::permissions(options_.cache_folder, fs::perms::owner_all);
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(TfrecordIndexes, bad_records_are_named_and_counted_as_the_pass_did) {
  const fs::path shard = folder_ / "data/train-00000-of-00002.tfrecord";
  std::string bytes = contents(shard);
  bytes[40] = static_cast<char>(bytes[40] ^ 0x20);
  write("data/train-00000-of-00002.tfrecord", bytes);
  const fs::path cut = folder_ / "data/train-00001-of-00002.tfrecord";
  fs::resize_file(cut, fs::file_size(cut) - 1);
  options_.max_bad_records = 2;
  const auto first = open();
  EXPECT_THAT(first.bad_records,
              ElementsAre(HasSubstr("train-00000-of-00002.tfrecord: the record at byte 0: "),
                          HasSubstr("cut off")));
  EXPECT_EQ(shards_read([&] { expect_equal(first, open()); }), 0U);
  // Where that is too many, they are looked at once more.
  options_.max_bad_records = 1;
  EXPECT_EQ(shards_read([&] {
              const auto strict = try_open();
              ASSERT_FALSE(strict);
              EXPECT_THAT(strict.error().to_string(), HasSubstr("2 bad records, 1 allowed"));
            }),
            2U);
}

TEST_F(TfrecordIndexes, too_many_bad_records_leave_none) {
  fs::resize_file(folder_ / "data/train-00001-of-00002.tfrecord", 20);
  EXPECT_FALSE(try_open());
  EXPECT_THAT(cached_files(), IsEmpty());
}

TEST_F(TfrecordIndexes, few_records_are_read_each_time) {
  options_.index_from_bytes = 1'000'000;
  for (int time = 0; time < 2; ++time) EXPECT_EQ(shards_read([&] { open(); }), 2U);
  EXPECT_THAT(cached_files(), IsEmpty());
}

TEST_F(TfrecordIndexes, of_records_that_change_while_they_are_read_are_not_kept) {
  options_.progress = [this](uint64_t done, uint64_t total) {
    if (done == total) write("data/train-00001-of-00002.tfrecord", "");
  };
  EXPECT_EQ(open().dataset.images().size(), 3U);
  EXPECT_THAT(cached_files(), IsEmpty());
}

TEST_F(TfrecordIndexes, are_made_by_one_of_many_who_start_together) {
  std::vector<std::optional<Result<TfrecordDataset>>> opened(6);
  std::mutex mutex;
  options_.note = [&](const std::string& note) {
    const std::lock_guard lock(mutex);
    EXPECT_THAT(note, HasSubstr("waiting for another process"));
  };
  EXPECT_EQ(shards_read([&] {
              std::vector<std::jthread> threads;
              threads.reserve(opened.size());
              for (auto& mine : opened) threads.emplace_back([&] { mine = try_open(); });
            }),
            2U);
  for (const auto& each : opened) {
    ASSERT_TRUE(each && *each);
    expect_equal(**opened[0], **each);
  }
  EXPECT_THAT(cached_files(), SizeIs(1));
}

TEST_F(TfrecordIndexes, who_is_stopped_waits_no_longer) {
  open();
  const fs::path file = cached_files().at(0);
  fs::remove(file);
  const auto lock = storage::FileLock::take(file.string() + ".lock", {});
  ASSERT_TRUE(lock);
  std::stop_source source;
  options_.stop = source.get_token();
  options_.note = [&](const std::string&) { source.request_stop(); };
  EXPECT_EQ(try_open().error().code, ErrorCode::kCancelled);
}

class BucketLikeStore : public storage::FakeStore {
 public:
  BucketLikeStore(Reads& reads, int versions) : reads_(reads) {
    for (int i = 0; i < versions; ++i) {
      EXPECT_TRUE(storage::put_text(*this, "train.tfrecord", MadeRecord{}.record()));
    }
  }
  std::string uri() const override { return "s3://bucket/records"; }
  Result<storage::Blob> get(std::string_view key) override {
    reads_.add(key);
    return FakeStore::get(key);
  }

 private:
  Reads& reads_;
};

TEST_F(TfrecordIndexes, of_a_bucket_go_by_its_etags) {
  const auto open_version = [&](int version) {
    const auto opened =
        open_tfrecords(std::make_unique<BucketLikeStore>(reads_, version), "", options_);
    ASSERT_TRUE(opened) << opened.error().to_string();
    EXPECT_EQ(opened->dataset.images().size(), 1U);
  };
  EXPECT_EQ(shards_read([&] { open_version(1); }), 1U);
  EXPECT_EQ(shards_read([&] { open_version(1); }), 0U);
  EXPECT_EQ(shards_read([&] { open_version(2); }), 1U);
  EXPECT_EQ(shards_read([&] { open_version(2); }), 0U);
}

}  // namespace
}  // namespace atl::dataset
