#include "parallel/backend.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

namespace atl::parallel {
namespace {

// Like the dispatcher's own table: filled by plug-ins, entries never go.
struct Table {
  std::mutex mutex;
  std::map<c10::DeviceType, BackendKind> kinds = {
      {c10::DeviceType::CPU, {c10d::ProcessGroup::GLOO, make_gloo}}};
};

Table& table() {
  static Table instance;
  return instance;
}

constexpr const char* kNcclPlugin = "libatoll_nccl.so";
constexpr const char* kNcclHint = "`./run setup --cuda`, then `./run build`; or use --device cpu";

tl::unexpected<Error> no_nccl(std::string_view why) {
  return fail(ErrorCode::kUnsupported, fmt::format("several ranks on GPUs: {}", why), kNcclHint);
}

// In lib/ beside the folder of the program that runs, which for tests has another one around it.
std::filesystem::path plugin_path() {
  std::error_code none;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
  const auto beside = folder.parent_path() / "lib" / kNcclPlugin;
  const auto around = folder.parent_path().parent_path() / "lib" / kNcclPlugin;
  return !std::filesystem::exists(beside, none) && std::filesystem::exists(around, none) ? around
                                                                                         : beside;
}

}  // namespace

void register_backend(c10::DeviceType device, BackendKind kind) {
  const std::lock_guard lock(table().mutex);
  table().kinds.emplace(device, std::move(kind));
}

const BackendKind* find_backend(c10::DeviceType device) {
  const std::lock_guard lock(table().mutex);
  const auto found = table().kinds.find(device);
  return found == table().kinds.end() ? nullptr : &found->second;
}

Result<void> load_backend(at::Device device) {
  if (find_backend(device.type()) != nullptr) return {};
  if (!device.is_cuda()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("several ranks on {}: no library for that device is loaded", device.str()),
        "use --device cpu");
  }
  const std::string path = plugin_path().string();
  if (std::error_code none; !std::filesystem::exists(path, none)) {
    return no_nccl(fmt::format("there is no {}, which sums what they compute", path));
  }
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return no_nccl(::dlerror());
  const auto version =
      reinterpret_cast<const char* (*)()>(::dlsym(library, "atoll_version_of_backends"));
  const auto add =
      reinterpret_cast<void (*)(RegisterBackend)>(::dlsym(library, "atoll_register_backends"));
  if (version == nullptr || add == nullptr) return no_nccl(path + " is no such library of Atoll's");
  if (std::string_view(version()) != ATOLL_VERSION) {
    return no_nccl(fmt::format("{} is of version {}, this is {}", path, version(), ATOLL_VERSION));
  }
  add(register_backend);
  return {};
}

}  // namespace atl::parallel
