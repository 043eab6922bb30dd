// The one file that sees NCCL: sums between GPUs, as c10d's ProcessGroupNCCL does them. A library of its own, because its
// code is in libtorch_cuda.so, which a machine without GPUs neither has nor needs; load_backend() opens it where several
// ranks have tensors on GPUs. It calls nothing of Atoll's, so that it can be opened by any of Atoll's programs.
//
// NCCL's sums are queued behind the kernels of a stream: waiting for one only puts what follows behind it. So that a rank
// is lost is seen by Watch and in the sums of numbers on the CPU, of which every step has one between its last sum on the
// GPU and the change of the weights. abort() ends what waits on the GPU for a rank that is gone.
#define USE_C10D_NCCL
#include <stdlib.h>

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "parallel/backend.h"

namespace atl::parallel {
namespace {

// c10d's own watchdog ends the process with an exception of its thread, or from another thread when that one hangs, before
// anybody has said which rank is missing. parallel/watch.h does both with better words. What a user has set stays.
void leave_the_watching_to_us() {
  ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
  ::setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 0);
  ::setenv("TORCH_NCCL_DUMP_ON_TIMEOUT", "0", 0);
  ::setenv("TORCH_NCCL_PROPAGATE_ERROR", "0", 0);
}

c10::intrusive_ptr<c10d::Backend> make_nccl(const BackendOptions& options) {
  leave_the_watching_to_us();
  if (!options.interface.empty()) {
    ::setenv("NCCL_SOCKET_IFNAME", ("=" + options.interface).c_str(), 0);
  }
  auto nccl = c10d::ProcessGroupNCCL::Options::create();
  nccl->timeout = options.timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(
      options.store, options.rank, options.size, nccl);
}

}  // namespace
}  // namespace atl::parallel

extern "C" __attribute__((visibility("default"))) void atoll_register_backends(
    atl::parallel::RegisterBackend add) {
  add(c10::DeviceType::CUDA, {c10d::ProcessGroup::NCCL, atl::parallel::make_nccl});
}

extern "C" __attribute__((visibility("default"))) const char* atoll_version_of_backends() {
  return ATOLL_VERSION;
}
