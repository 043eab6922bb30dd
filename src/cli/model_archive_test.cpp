#include "cli/model_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "cli/program_fixture.h"
#include "sagemaker/archive.h"

namespace atl::cli {
namespace {

namespace stdfs = std::filesystem;
using testing::HasSubstr;

class ModelArchive : public testing::Test {
 protected:
  // Of one file.
  std::string archive(const std::string& name, const std::string& text) {
    stdfs::create_directories(directory_.path() / "model");
    std::ofstream(directory_.path() / "model" / name) << text;
    const std::array<stdfs::path, 1> folders = {directory_.path() / "model"};
    const stdfs::path file = directory_.path() / "model.tar.gz";
    EXPECT_TRUE(sagemaker::write_archive(folders, file).has_value());
    return file.string();
  }

  const TemporaryDirectory directory_;
};

TEST_F(ModelArchive, is_a_weight_file_for_as_long_as_it_is_open) {
  const std::string file = archive("model.safetensors", "weights");
  std::string path;
  {
    auto opened = ModelFile::open(file);
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    const ModelFile model = *std::move(opened);
    path = model.path();
    EXPECT_EQ(contents(path), "weights");
  }
  EXPECT_FALSE(stdfs::exists(stdfs::path(path).parent_path()));
}

TEST_F(ModelArchive, leaves_other_weights_alone) {
  EXPECT_EQ(ModelFile::open("s3://b/model.safetensors").value().path(), "s3://b/model.safetensors");
}

TEST_F(ModelArchive, without_a_model_or_with_something_hostile_is_refused) {
  EXPECT_THAT(ModelFile::open(archive("other", "x")).error().to_string(),
              HasSubstr("holds no model.safetensors"));
  const stdfs::path broken = directory_.path() / "broken.tar.gz";
  std::ofstream(broken) << "not an archive";
  EXPECT_THAT(ModelFile::open(broken.string()).error().to_string(), HasSubstr("no whole tar"));
  EXPECT_EQ(ModelFile::open((directory_.path() / "none.tar.gz").string()).error().code,
            ErrorCode::kNotFound);
}

TEST_F(ModelArchive, is_refused_by_predict_with_the_reason) {
  const std::string command =
      "cd " + directory_.path().string() + " && ln -s /etc/passwd l && tar czf m.tar.gz l";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const Outcome predicted = run_program(ATOLL_BINARY_DIR "/bin/atoll",
                                        "predict --weights m.tar.gz --out found m.tar.gz",
                                        directory_.path());
  if (predicted.err.find("is not there") != std::string::npos) GTEST_SKIP() << predicted.err;
  EXPECT_EQ(predicted.exit_code, 2);
  EXPECT_THAT(predicted.err, HasSubstr("m.tar.gz: \"l\" is a link"));
}

}  // namespace
}  // namespace atl::cli
