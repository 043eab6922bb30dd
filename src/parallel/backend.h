// What moves the data of a device's tensors: Gloo for the CPU, and whatever a plug-in registers for
// its own: lib/libatoll_nccl.so for GPUs (nccl_plugin.cpp), opened when it is wanted, not linked. Nothing else
// in the room knows the difference.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/DeviceType.h>

#include <chrono>
#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "base/error.h"

namespace atl::parallel {

struct BackendOptions {
  c10::intrusive_ptr<c10d::Store> store;  // of this backend alone
  int rank = 0;
  int size = 1;
  std::string interface;  // of the network; "": that of `address`
  std::string address;    // of this rank, numeric
  std::chrono::milliseconds timeout;
};

struct BackendKind {
  c10d::ProcessGroup::BackendType type = c10d::ProcessGroup::UNDEFINED;
  // Connects to the other ranks; throws what c10d throws. The backend's abort() must make collectives that
  // wait for other ranks fail, here or there.
  std::function<c10::intrusive_ptr<c10d::Backend>(const BackendOptions&)> make;
};

// For a plug-in's atoll_register_backends(RegisterBackend); the CPU's is here from the start. Thread safe.
void register_backend(c10::DeviceType device, BackendKind kind);
using RegisterBackend = void (*)(c10::DeviceType device, BackendKind kind);
// nullptr: none is registered.
const BackendKind* find_backend(c10::DeviceType device);
// find_backend() has one after this. kUnsupported: what is missing on this machine, and what to do.
Result<void> load_backend(at::Device device);

// gloo_backend.cpp
c10::intrusive_ptr<c10d::Backend> make_gloo(const BackendOptions& options);

}  // namespace atl::parallel
