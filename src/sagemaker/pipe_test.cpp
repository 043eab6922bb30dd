// Pipes with a thread as SageMaker's agent, which opens the FIFO, writes and closes it.
#include "sagemaker/pipe.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <thread>

#include "dataset/tfrecord.h"
#include "sagemaker/contract_fixture.h"

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PipeChannel : public ContainerFolder {
 protected:
  PipeChannel() {
    ::signal(SIGPIPE, SIG_IGN);  // a reader that gives up is part of it
    std::filesystem::create_directories(folder_ / "input/data");
    EXPECT_EQ(::mkfifo(path("input/data/train_0").c_str(), S_IRUSR | S_IWUSR), 0);
  }

  Result<ChannelFolder> spool(const std::string& stream) {
    std::thread agent([&] {
      std::ofstream fifo(path("input/data/train_0"), std::ios::binary);
      fifo << stream;
    });
    auto result = spool_pipe(paths_, channel_, options_);
    agent.join();
    return result;
  }
  std::string error_of(const std::string& stream) {
    const auto result = spool(stream);
    return result ? "no error" : result.error().to_string();
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "spool/train")) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  Channel channel_{.name = "train", .mode = InputMode::kPipe};
  std::vector<std::string> said_;
  SpoolOptions options_{.directory = path("spool"),
                        .shard_bytes = 100,
                        .say = [this](const std::string& line) { said_.push_back(line); }};
};

std::string records(int count, size_t bytes) {
  std::string stream;
  for (int i = 0; i < count; ++i) stream += dataset::frame_tfrecord(std::string(bytes, 'a'));
  return stream;
}

TEST_F(PipeChannel, becomes_a_folder_of_records) {
  const std::string stream = records(5, 60);  // frames of 76 bytes
  const auto folder = spool(stream);
  ASSERT_TRUE(folder) << folder.error().to_string();
  EXPECT_EQ(folder->folder, path("spool/train"));
  std::string all;
  for (const std::string& name : files()) {
    const std::string bytes = text("spool/train/" + name);
    EXPECT_EQ(bytes.size() % 76, 0U) << name;
    all += bytes;
  }
  EXPECT_EQ(all, stream);
  EXPECT_THAT(files().back(), HasSubstr("-of-0000"));
  EXPECT_THAT(
      said_,
      Contains(AllOf(HasSubstr("channel train: 380 B from its pipe"), HasSubstr("FastFile"))));
}

TEST_F(PipeChannel, one_of_recordio_is_unwrapped) {
  channel_.record_io = true;
  const std::string object = records(1, 60);
  std::string wrapped = {'\x0a', '\x23', '\xd7', '\xce', static_cast<char>(object.size()), 0, 0, 0};
  wrapped += object;
  const auto folder = spool(wrapped + wrapped);
  ASSERT_TRUE(folder) << folder.error().to_string();
  EXPECT_THAT(files(), ElementsAre("part-00000-of-00001.tfrecord"));
  EXPECT_EQ(text("spool/train/part-00000-of-00001.tfrecord"), object + object);
}

TEST_F(PipeChannel, of_anything_else_is_refused) {
  EXPECT_THAT(error_of("\xff\xd8\xff\xe0 a picture, or whatever this may be"),
              AllOf(HasSubstr("channel train (Pipe, " + path("input/data/train_0") + "): "),
                    HasSubstr("the record at byte 0"),
                    HasSubstr("Pipe mode is for TFRecords alone; use FastFile mode")));
}

TEST_F(PipeChannel, that_ends_within_a_record_is_refused) {
  const std::string stream = records(2, 60);
  for (const size_t bytes : {size_t{5}, size_t{76 + 20}, stream.size() - 1}) {
    EXPECT_THAT(error_of(stream.substr(0, bytes)),
                HasSubstr("the stream ends within the record at byte"));
  }
}

TEST_F(PipeChannel, that_is_empty_or_missing_is_named) {
  EXPECT_THAT(error_of(""),
              HasSubstr("channel train (Pipe, " + path("input/data/train_0") +
                        "): there is nothing in the pipe"));
  channel_.name = "other";
  EXPECT_THAT(spool_pipe(paths_, channel_, options_).error().to_string(),
              AllOf(HasSubstr("channel other"), HasSubstr("No such file or directory")));
  write("input/data/other_0", "no pipe");
  EXPECT_THAT(spool_pipe(paths_, channel_, options_).error().to_string(), HasSubstr("is no FIFO"));
}

TEST_F(PipeChannel, into_which_nobody_writes_is_given_up) {
  options_.silence = std::chrono::milliseconds(0);
  EXPECT_THAT(spool_pipe(paths_, channel_, options_).error().to_string(),
              HasSubstr("nothing has come from the pipe for"));
}

// A folder that cannot be made, as a full disk cannot be had here.
TEST_F(PipeChannel, that_cannot_be_kept_says_what_to_do) {
  write("spool", "in the way");
  EXPECT_THAT(error_of(records(1, 60)),
              AllOf(HasSubstr("channel train"), HasSubstr("give the job a larger volume")));
}

}  // namespace
}  // namespace atl::sagemaker
