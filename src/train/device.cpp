#include "train/device.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <string>

#include "base/parallel.h"

namespace atl::train {
namespace {

constexpr const char* kSetUpHint =
    "`./run setup --cuda` installs the CUDA libraries; or --device cpu";

// The driver's own count, of those that CUDA_VISIBLE_DEVICES leaves; the 1 GB of libtorch_cuda.so need not be
// opened to learn that there is none.
Result<int> count_gpus() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) {
    return fail(ErrorCode::kUnsupported,
                "device cuda: no NVIDIA driver (libcuda.so.1) on this machine",
                "install the driver, or use --device cpu");
  }
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  int gpus = 0;
  if (init == nullptr || count == nullptr || init(0) != 0 || count(&gpus) != 0 || gpus == 0) {
    return fail(ErrorCode::kUnsupported,
                "device cuda: the NVIDIA driver finds no GPU",
                "check `nvidia-smi`, or use --device cpu");
  }
  return gpus;
}

Result<void> open_cuda_libraries() {
  Dl_info torch{};
  const auto* symbol = reinterpret_cast<const void*>(&at::get_num_threads);
  std::string directory = ".";
  if (dladdr(symbol, &torch) != 0 && torch.dli_fname != nullptr) {
    directory = torch.dli_fname;
    directory.resize(directory.rfind('/') == std::string::npos ? 0 : directory.rfind('/') + 1);
  }
  // Its static initialisers register the CUDA kernels with the dispatcher.
  const std::string path = directory + "libtorch_cuda.so";
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return fail(ErrorCode::kUnsupported, fmt::format("device cuda: {}", dlerror()), kSetUpHint);
  }
  if (!at::detail::getCUDAHooks().hasCUDA()) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("device cuda: {} finds no usable GPU", path),
                "check that the driver is new enough for CUDA 13, or use --device cpu");
  }
  return {};
}

// The number of GPUs.
Result<int> open_cuda() {
  const int gpus = ATOLL_TRY(count_gpus());
  ATOLL_TRY(open_cuda_libraries());
  return gpus;
}

class NoWarnings : public c10::WarningHandler {
 public:
  void process(const c10::Warning& /*warning*/) override {}
};

}  // namespace

std::optional<int> gpu_of_rank(int local_rank, int gpus) {
  if (gpus == 1) return 0;
  return local_rank < gpus ? std::optional(local_rank) : std::nullopt;
}

Result<at::Device> choose_device(std::string_view name, int local_rank) {
  if (name == "cpu") return at::Device(at::kCPU);
  if (name != "cuda" && name != "auto") {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("device \"{}\" is not known", name),
                "auto, cpu or cuda");
  }
  static const Result<int> gpus = open_cuda();
  if (!gpus) {
    if (name == "cuda") return tl::unexpected(gpus.error());
    return at::Device(at::kCPU);
  }
  const auto gpu = gpu_of_rank(local_rank, *gpus);
  if (!gpu) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("device cuda: this is local rank {}, but there are {} GPUs", local_rank, *gpus),
        "start as many ranks on a machine as it has GPUs, or use --device cpu");
  }
  const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(*gpu));
  c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(device);  // of what is made without naming one
  return device;
}

void configure_torch(int threads) {
  static NoWarnings silent;
  c10::WarningUtils::set_warning_handler(&silent);
  at::set_num_threads(threads > 0 ? threads : available_cpus());
}

}  // namespace atl::train
