#include "sagemaker/pipe_feed.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "base/unique_fd.h"
#include "dataset/tfrecord.h"
#include "sagemaker/pipe.h"
#include "sagemaker/temporary_folder.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;

class PipeFeedTest : public testing::Test {
 protected:
  PipeFeedTest() { stdfs::create_directories(folder_.path() / "ml/input/data"); }

  std::unique_ptr<PipeFeed> start() {
    auto feed = PipeFeed::start(folder_.path() / "data", fifos_);
    EXPECT_TRUE(feed.has_value()) << feed.error().to_string();
    return feed ? *std::move(feed) : nullptr;
  }
  std::string fifo(int epoch) const { return fifos_ + "_" + std::to_string(epoch); }
  // To its end, as a program does that knows nothing of FIFOs.
  static std::string read(const std::string& file) { return TemporaryFolder::contents(file); }

  const TemporaryFolder folder_;
  const std::string fifos_ = (folder_.path() / "ml/input/data/train").string();
};

TEST_F(PipeFeedTest, gives_all_files_in_the_order_of_their_names_in_every_epoch) {
  folder_.write("data/b", "second ");
  folder_.write("data/a/z", "first ");
  folder_.write("data/c", "third");
  const std::string large(300'000, 'x');  // more than a pipe holds
  folder_.write("data/d", large);
  const auto feed = start();
  ASSERT_TRUE(feed);
  for (int epoch = 0; epoch < 3; ++epoch) {
    // Each is there as soon as the one before has been read to its end.
    ASSERT_EQ(read(fifo(epoch)), "first second third" + large) << epoch;
  }
  EXPECT_TRUE(feed->end());
  EXPECT_FALSE(stdfs::exists(fifo(0)));
}

TEST_F(PipeFeedTest, gives_what_a_container_spools) {
  std::string records;
  for (int i = 0; i < 5; ++i) records += dataset::frame_tfrecord(std::string(60, 'a'));
  folder_.write("data/train-00000-of-00001.tfrecord", records);
  const auto feed = start();
  ASSERT_TRUE(feed);
  const Paths paths{.root = (folder_.path() / "ml").string()};
  SpoolOptions options;
  options.directory = (folder_.path() / "spool").string();
  const Channel channel{.name = "train", .mode = InputMode::kPipe};
  const auto spooled = spool_pipe(paths, channel, options);
  ASSERT_TRUE(spooled) << spooled.error().to_string();
  EXPECT_EQ(read(spooled->folder + "/part-00000-of-00001.tfrecord"), records);
}

TEST_F(PipeFeedTest, ends_where_nobody_has_come) {
  folder_.write("data/a", "x");
  const auto feed = start();
  ASSERT_TRUE(feed);
  EXPECT_TRUE(feed->end());
  EXPECT_TRUE(stdfs::exists(fifo(0)));
}

TEST_F(PipeFeedTest, ends_where_a_reader_does_not_read_on) {
  folder_.write("data/a", std::string(1 << 20, 'x'));
  const auto feed = start();
  ASSERT_TRUE(feed);
  const UniqueFd reader(::open(fifo(0).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  pollfd something{reader.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&something, 1, -1), 1);
  EXPECT_TRUE(feed->end());
}

TEST_F(PipeFeedTest, goes_on_with_the_next_epoch_where_a_reader_leaves) {
  folder_.write("data/a", std::string(1 << 20, 'x'));
  const auto feed = start();
  ASSERT_TRUE(feed);
  {
    const UniqueFd reader(::open(fifo(0).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    pollfd something{reader.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&something, 1, -1), 1);
  }
  EXPECT_EQ(read(fifo(1)).size(), 1U << 20);
  EXPECT_TRUE(feed->end());
}

TEST_F(PipeFeedTest, a_file_that_is_gone_is_what_it_ends_with) {
  folder_.write("data/a", "first");
  folder_.write("data/b", "second");
  const auto feed = start();
  ASSERT_TRUE(feed);
  stdfs::remove(folder_.path() / "data/b");
  EXPECT_EQ(read(fifo(0)), "first");
  const auto ended = feed->end();
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().to_string().find("data/b"), std::string::npos);
}

TEST_F(PipeFeedTest, a_folder_that_is_not_there_or_a_name_that_is_taken_is_told) {
  folder_.write("data/a", "x");
  folder_.write("ml/input/data/train_0", "in the way");
  EXPECT_FALSE(PipeFeed::start(folder_.path() / "data", fifos_));
}

}  // namespace
}  // namespace atl::sagemaker
