#include "dataset/sha256.h"

#include <gtest/gtest.h>

#include <string_view>

namespace atl::dataset {
namespace {

std::string digest(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text))); }

// FIPS 180-2, appendix B, and NIST's example of the empty message.
TEST(Sha256, gives_the_published_digests) {
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// python: hashlib.sha256(b"x" * n).hexdigest()[:8], around the padding's border.
TEST(Sha256, pads_right_at_the_borders_of_a_block) {
  EXPECT_EQ(digest(std::string(55, 'x')).substr(0, 8), "d5e28568");
  EXPECT_EQ(digest(std::string(56, 'x')).substr(0, 8), "04c26261");
  EXPECT_EQ(digest(std::string(57, 'x')).substr(0, 8), "ae14a256");
  EXPECT_EQ(digest(std::string(63, 'x')).substr(0, 8), "75220b47");
  EXPECT_EQ(digest(std::string(64, 'x')).substr(0, 8), "7ce10097");
  EXPECT_EQ(digest(std::string(65, 'x')).substr(0, 8), "9537c5fd");
  EXPECT_EQ(digest(std::string(119, 'x')).substr(0, 8), "000b48d4");
  EXPECT_EQ(digest(std::string(120, 'x')).substr(0, 8), "13f05a0b");
  EXPECT_EQ(digest(std::string(128, 'x')).substr(0, 8), "24da1b81");
}

}  // namespace
}  // namespace atl::dataset
