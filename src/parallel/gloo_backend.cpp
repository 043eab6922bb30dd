// The one file that sees Gloo. The torch wheel has Gloo's code but not its headers; those of the
// distribution are older, so nothing of theirs is used but declarations that both have: the devices' and
// contexts' pointers, and Context::closeConnections().
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "parallel/backend.h"

namespace atl::parallel {
namespace {

class Gloo : public c10d::ProcessGroupGloo {
 public:
  using c10d::ProcessGroupGloo::ProcessGroupGloo;
  // The ranks at the other ends see the end of the connection.
  void abort() override {
    for (const auto& context : contexts_) context->closeConnections();
  }
};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_gloo(const BackendOptions& options) {
  auto gloo = c10d::ProcessGroupGloo::Options::create(options.timeout);
  gloo->devices.push_back(
      options.interface.empty()
          ? c10d::ProcessGroupGloo::createDeviceForHostname(options.address)
          : c10d::ProcessGroupGloo::createDeviceForInterface(options.interface));
  return c10::make_intrusive<Gloo>(options.store, options.rank, options.size, gloo);
}

}  // namespace atl::parallel
