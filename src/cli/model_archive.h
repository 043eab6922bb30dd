// Weights that are given as SageMaker's model.tar.gz: unpacked for as long as they are read.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"

namespace atl::cli {

class ModelFile {
 public:
  // `weights`: a path or URI of a weight file, which is taken as it is, or of a NAME.tar.gz, whose model.safetensors is
  // unpacked to a folder of its own among the temporary files. Errors: the store's, unpack_archive()'s; kNotFound: the archive
  // holds no model.safetensors.
  static Result<ModelFile> open(const std::string& weights);

  ModelFile(ModelFile&& other) noexcept;
  ModelFile& operator=(ModelFile&&) = delete;
  ~ModelFile();

  const std::string& path() const { return path_; }

 private:
  ModelFile(std::string path, std::filesystem::path folder);

  std::string path_;
  std::filesystem::path folder_;  // goes away with this; "": there is none
};

}  // namespace atl::cli
