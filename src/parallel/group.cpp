#include "parallel/group.h"

#include <ATen/ATen.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>
#include <signal.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "base/check.h"
#include "base/own_program.h"
#include "parallel/address.h"
#include "parallel/backend.h"
#include "parallel/group_impl.h"
#include "parallel/rank_text.h"
#include "parallel/ring_sizes.h"

namespace atl::parallel {
namespace {

using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

// For so much, messages cost by their number and not by their length.
constexpr size_t kFewBytes = size_t{64} << 10;

ProcessGroup connect(const GroupOptions& options,
                     const Meeting& meeting,
                     const std::string& name,
                     std::span<const c10::DeviceType> devices) {
  const auto store = c10::make_intrusive<c10d::PrefixStore>(name, meeting.store);
  auto group = c10::make_intrusive<c10d::ProcessGroup>(store, options.rank, options.size);
  for (const auto device : devices) {
    const BackendKind& kind = *find_backend(device);
    const auto own_store =
        c10::make_intrusive<c10d::PrefixStore>(c10::DeviceTypeName(device), store);
    group->setBackend(device,
                      kind.type,
                      kind.make({own_store,
                                 options.rank,
                                 options.size,
                                 options.interface,
                                 meeting.address,
                                 options.join_timeout}));
  }
  // Of what has no tensor: barriers are the CPU's, where there is one.
  group->setDefaultBackend(find_backend(devices.front())->type);
  group->setGroupName(name);
  return group;
}

// None where one ring of all is as short.
std::vector<ProcessGroup> connect_rings(const GroupOptions& options, const Meeting& meeting) {
  const std::vector<int> sizes = ring_sizes(options.size);
  std::vector<ProcessGroup> rings;
  for (size_t digit = 0; sizes.size() > 1 && digit < sizes.size(); ++digit) {
    const RingPlace place = place_in_ring(options.rank, sizes, digit);
    GroupOptions own = options;
    own.rank = place.rank;
    own.size = sizes[digit];
    constexpr std::array kCpu = {c10::DeviceType::CPU};
    rings.push_back(connect(own, meeting, fmt::format("ring {}.{}", digit, place.ring), kCpu));
  }
  return rings;
}

// Gloo and the store's server write to connections that may be closed at the other end, without asking for
// an error in place of SIGPIPE, which would end the process without a word. Threads inherit what is
// blocked, so theirs are made while this lives.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before_);
  }
  ~WithoutSigpipe() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  sigset_t before_{};
};

at::Tensor bytes_tensor(std::string_view bytes, int64_t size) {
  at::Tensor tensor = at::zeros({size}, at::kByte);
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr<uint8_t>(), bytes.data(), bytes.size());
  return tensor;
}

std::string text_of(const at::Tensor& tensor, int64_t size) {
  return {reinterpret_cast<const char*>(tensor.const_data_ptr<uint8_t>()),
          static_cast<size_t>(size)};
}

}  // namespace

Group::Group() = default;
Group::Group(Group&&) noexcept = default;
Group& Group::operator=(Group&&) noexcept = default;
Group::~Group() = default;

int Group::rank() const { return impl_ ? impl_->options.rank : 0; }
int Group::size() const { return impl_ ? impl_->options.size : 1; }
std::string Group::host() const { return impl_ ? impl_->host : std::string(); }

bool Group::Impl::is_timeout(std::chrono::steady_clock::time_point begin) const {
  // The library counts by itself, and a little differently. One rank is enough: the others believe it.
  return std::chrono::steady_clock::now() - begin >= options.timeout * 9 / 10;
}

Group::Impl::~Impl() {
  if (watch && !finished && !watch->failure()) {
    watch->report({ErrorCode::kInternal, "it left before the others were done", {}, {}});
  }
  if (watch) watch->leave(/*wait=*/options.rank == 0);
  // Their destructors wait for work that will not be done. The process is about to end.
  if (watch && watch->abandoned()) {
    control.release();
    gradients.release();
    for (auto& ring : rings) ring.release();
  }
  watch.reset();
}

Result<Group> Group::join(const GroupOptions& options, at::Device device, Agreed agreed) {
  Group group;
  if (options.size == 1 && options.rank == 0) return group;
  ATOLL_TRY(load_backend(device));
  agreed.insert(agreed.begin(),
                {{"the version of atoll", ATOLL_VERSION},
                 {"the build of atoll", own_build()},
                 {"the version of torch", TORCH_VERSION}});
  // c10d writes a page to standard error whenever a connection breaks; what a person must know comes from us.
  FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  const WithoutSigpipe quiet;
  const Meeting meeting = ATOLL_TRY(meet(options, agreed));
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->store = meeting.store;
  impl->host = meeting.hosts[static_cast<size_t>(options.rank)];
  std::vector<c10::DeviceType> devices = {c10::DeviceType::CPU};
  if (!device.is_cpu()) devices.push_back(device.type());
  try {
    // Nobody watches yet: a rank that dies now is missed after the time that it had for coming.
    meeting.store->setTimeout(options.join_timeout);
    impl->control = connect(options, meeting, "control", devices);
    impl->gradients = connect(options, meeting, "gradients", std::span(devices).last(1));
    impl->rings = connect_rings(options, meeting);
    std::vector<ProcessGroup> all = impl->rings;
    all.insert(all.end(), {impl->control, impl->gradients});
    for (const auto& connections : all) connections->setTimeout(options.timeout);
    impl->watch = std::make_unique<Watch>(
        meeting.store->clone(),
        WatchOptions{options.rank, meeting.hosts, options.silence, options.hearing},
        [all = std::move(all)] {
          for (const auto& connections : all) connections->abort();
        });
  } catch (const std::exception& error) {
    return fail(
        ErrorCode::kIo,
        fmt::format("rank {} on {} ({}) has no connection to the other ranks: {}",
                    options.rank,
                    host_name(),
                    meeting.address,
                    first_line(error.what())),
        "see whether the machines reach each other on all ports, or name the network's interface");
  }
  group.impl_ = std::move(impl);
  ATOLL_TRY(group.barrier("the start"));
  return group;
}

Result<void> Group::sum(const at::Tensor& tensor, const char* name) {
  if (!impl_) return {};
  ATOLL_CHECK(tensor.is_non_overlapping_and_dense()) << tensor.sizes();
  if (tensor.is_cpu() && tensor.nbytes() <= kFewBytes && !impl_->rings.empty()) {
    // One collective for those who ask how far a rank is, through however many rings it goes.
    return impl_->run(name, [&] {
      std::vector<at::Tensor> tensors = {tensor};
      for (size_t digit = 0; digit + 1 < impl_->rings.size(); ++digit) {
        impl_->watch->wait(*impl_->rings[digit]->allreduce(tensors));
      }
      return impl_->rings.back()->allreduce(tensors);
    });
  }
  return impl_->run(name, [&] {
    std::vector<at::Tensor> tensors = {tensor};
    return impl_->control->allreduce(tensors);
  });
}

Result<void> Group::broadcast(std::span<const at::Tensor> tensors, const char* name) {
  if (!impl_) return {};
  for (const at::Tensor& tensor : tensors) {
    ATOLL_CHECK(tensor.is_non_overlapping_and_dense()) << tensor.sizes();
    ATOLL_TRY(impl_->run(name, [&] {
      std::vector<at::Tensor> one = {tensor.detach()};
      return impl_->control->broadcast(one);
    }));
  }
  return {};
}

Result<std::string> Group::broadcast(std::string_view bytes, const char* name) {
  if (!impl_) return std::string(bytes);
  const at::Tensor size = at::tensor({static_cast<int64_t>(bytes.size())}, at::kLong);
  ATOLL_TRY(broadcast(std::span(&size, 1), name));
  const auto length = size.item<int64_t>();
  const at::Tensor data = first() ? bytes_tensor(bytes, length) : at::zeros({length}, at::kByte);
  if (length > 0) ATOLL_TRY(broadcast(std::span(&data, 1), name));
  return text_of(data, length);
}

namespace {

struct Lengths {
  std::vector<int64_t> of;  // by rank
  int64_t longest = 0;
};

Result<Lengths> exchange_lengths(Group& group, size_t own, const char* name) {
  const at::Tensor lengths = at::zeros({group.size()}, at::kLong);
  int64_t* const data = lengths.mutable_data_ptr<int64_t>();
  data[group.rank()] = static_cast<int64_t>(own);
  ATOLL_TRY(group.sum(lengths, name));
  Lengths result{{data, data + group.size()}, 0};
  result.longest = *std::ranges::max_element(result.of);
  return result;
}

std::vector<std::string> texts_of(const std::vector<at::Tensor>& parts, const Lengths& lengths) {
  std::vector<std::string> texts;
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    texts.push_back(text_of(parts[rank], lengths.of[rank]));
  }
  return texts;
}

}  // namespace

Result<std::vector<std::string>> Group::gather(std::string_view bytes, const char* name) {
  if (!impl_) return std::vector<std::string>{std::string(bytes)};
  const Lengths lengths = ATOLL_TRY(exchange_lengths(*this, bytes.size(), name));
  if (lengths.longest == 0) return std::vector<std::string>(first() ? lengths.of.size() : 0);
  std::vector<at::Tensor> own = {bytes_tensor(bytes, lengths.longest)};
  std::vector<std::vector<at::Tensor>> parts;
  if (first()) {
    parts.emplace_back();
    for (int rank = 0; rank < size(); ++rank) {
      parts.back().push_back(at::empty({lengths.longest}, at::kByte));
    }
  }
  ATOLL_TRY(impl_->run(name, [&] { return impl_->control->gather(parts, own); }));
  return first() ? texts_of(parts.front(), lengths) : std::vector<std::string>();
}

Result<std::vector<std::string>> Group::all_gather(std::string_view bytes, const char* name) {
  if (!impl_) return std::vector<std::string>{std::string(bytes)};
  const Lengths lengths = ATOLL_TRY(exchange_lengths(*this, bytes.size(), name));
  if (lengths.longest == 0) return std::vector<std::string>(lengths.of.size());
  std::vector<at::Tensor> own = {bytes_tensor(bytes, lengths.longest)};
  std::vector<std::vector<at::Tensor>> parts(1);
  for (int rank = 0; rank < size(); ++rank) {
    parts.front().push_back(at::empty({lengths.longest}, at::kByte));
  }
  ATOLL_TRY(impl_->run(name, [&] { return impl_->control->allgather(parts, own); }));
  return texts_of(parts.front(), lengths);
}

Result<void> Group::barrier(const char* name) {
  if (!impl_) return {};
  return impl_->run(name, [&] { return impl_->control->barrier(); });
}

Result<bool> Group::any(bool own, const char* name) {
  if (!impl_) return own;
  const at::Tensor ranks = at::full({1}, own ? 1 : 0, at::kLong);
  ATOLL_TRY(sum(ranks, name));
  return ranks.item<int64_t>() > 0;
}

std::optional<Error> Group::failure() const {
  return impl_ ? impl_->watch->failure() : std::nullopt;
}

void Group::end_with(const Error& error) {
  if (impl_) impl_->watch->report(error);
}

Result<void> Group::finish() {
  if (!impl_) return {};
  ATOLL_TRY(barrier("the end"));
  impl_->finished = true;
  return {};
}

}  // namespace atl::parallel
