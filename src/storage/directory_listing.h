// A directory tree as the list of its files, in byte order of their paths.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>

#include "storage/storage.h"

namespace atl::storage {

// ObjectStore::list() for the directory `root`, which need not exist. The prefix has been checked.
Result<void> list_directory(const std::string& root,
                            std::string_view prefix,
                            const std::function<bool(const ObjectInfo&)>& visit);

ObjectInfo file_info(std::string key, const struct stat& status);

}  // namespace atl::storage
