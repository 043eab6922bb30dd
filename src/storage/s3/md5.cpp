#include "storage/s3/md5.h"

#include <openssl/evp.h>

namespace atl::storage {

std::optional<Md5Digest> md5(std::span<const std::byte> bytes) {
  Md5Digest digest;
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_md5(), nullptr) != 1) {
    return std::nullopt;
  }
  return digest;
}

}  // namespace atl::storage
