#include "storage/remote.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>

namespace atl::storage {

UploadSource upload_source(Blob bytes) {
  const uint64_t size_bytes = bytes.size();
  return {size_bytes, [bytes = std::move(bytes)](uint64_t offset, uint64_t size) -> Result<Blob> {
            const auto all = bytes.bytes();
            offset = std::min<uint64_t>(offset, all.size());
            size = std::min<uint64_t>(size, all.size() - offset);
            auto owner = std::make_shared<const Blob>(bytes);
            return Blob(owner, owner->bytes().subspan(offset, size));
          }};
}

Result<RangeBytes> Remote::read(RangeRequest request) {
  std::promise<Result<RangeBytes>> promise;
  auto future = promise.get_future();
  read_async(std::move(request),
             [&promise](Result<RangeBytes> result) { promise.set_value(std::move(result)); });
  return future.get();
}

Result<ListPage> page_after(Remote& remote, std::string_view prefix, std::string_view start_after) {
  auto page = remote.list_page(prefix, {}, start_after);
  if (!page && page.error().code == ErrorCode::kNotFound) page.error().code = ErrorCode::kIo;
  return page;
}

Result<RemoteObject> look_for(Remote& remote, std::string_view key) {
  constexpr int kTries = 2;  // it may come between the two questions
  for (int tries = 1;; ++tries) {
    auto object = remote.stat(key);
    if (object || object.error().code != ErrorCode::kNotFound) return object;
    const auto listed =
        ATOLL_TRY_CONTEXT(page_after(remote, key), "looking whether the bucket is there");
    const bool is_listed = !listed.objects.empty() && listed.objects.front().key == key;
    if (!is_listed) return object;
    if (tries == kTries) {
      return fail(
          ErrorCode::kInconsistent,
          fmt::format("{}/{}: the bucket lists it and does not find it", remote.uri(), key));
    }
  }
}

}  // namespace atl::storage
