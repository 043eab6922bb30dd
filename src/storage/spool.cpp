#include "storage/spool.h"

#include <span>

namespace atl::storage {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;

}  // namespace

Result<Spool> Spool::create(const std::string& in) {
  return Spool(ATOLL_TRY(NamelessFile::create(in)));
}

Result<void> Spool::add(std::string_view bytes) {
  waiting_ += bytes;
  return waiting_.size() < kBufferBytes ? Result<void>() : write_out();
}

Result<void> Spool::write_out() {
  ATOLL_TRY(file_.write_at(written_bytes_, std::as_bytes(std::span(waiting_))));
  written_bytes_ += waiting_.size();
  waiting_.clear();
  return {};
}

Result<Blob> Spool::finish() && {
  ATOLL_TRY(write_out());
  return file_.map(written_bytes_);
}

}  // namespace atl::storage
