#include "cli/model_archive.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <cerrno>
#include <utility>

#include "sagemaker/archive.h"
#include "storage/nameless_file.h"
#include "storage/storage.h"

namespace atl::cli {
namespace {

constexpr std::string_view kModel = "model.safetensors";

}  // namespace

ModelFile::ModelFile(std::string path, std::filesystem::path folder)
    : path_(std::move(path)), folder_(std::move(folder)) {}

ModelFile::ModelFile(ModelFile&& other) noexcept
    : path_(std::move(other.path_)), folder_(std::exchange(other.folder_, {})) {}

ModelFile::~ModelFile() {
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Result<ModelFile> ModelFile::open(const std::string& weights) {
  if (!sagemaker::is_archive_name(weights)) return ModelFile(weights, {});
  auto location = ATOLL_TRY(storage::open_location(weights));
  const auto archive = ATOLL_TRY_CONTEXT(location.store->get(location.key), "reading the model");
  std::string folder = storage::temporary_directory() + "/atoll-model-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return fail_errno(folder, errno);
  ModelFile model(folder + "/" + std::string(kModel), folder);
  const auto names = ATOLL_TRY(sagemaker::unpack_archive(
      archive, weights, folder, [](std::string_view name) { return name == kModel; }));
  if (names.empty()) {
    return fail(ErrorCode::kNotFound, fmt::format("{}: holds no {}", weights, kModel));
  }
  return model;
}

}  // namespace atl::cli
