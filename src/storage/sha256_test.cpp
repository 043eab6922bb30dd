#include "storage/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace atl::storage {
namespace {

// FIPS 180-2, appendix B, and NIST's example of the empty message.
TEST(Sha256, gives_the_published_digests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// python: hashlib.sha256(b"x" * n).hexsha256_hex()[:8], around the padding's border.
TEST(Sha256, pads_right_at_the_borders_of_a_block) {
  EXPECT_EQ(sha256_hex(std::string(55, 'x')).substr(0, 8), "d5e28568");
  EXPECT_EQ(sha256_hex(std::string(56, 'x')).substr(0, 8), "04c26261");
  EXPECT_EQ(sha256_hex(std::string(57, 'x')).substr(0, 8), "ae14a256");
  EXPECT_EQ(sha256_hex(std::string(63, 'x')).substr(0, 8), "75220b47");
  EXPECT_EQ(sha256_hex(std::string(64, 'x')).substr(0, 8), "7ce10097");
  EXPECT_EQ(sha256_hex(std::string(65, 'x')).substr(0, 8), "9537c5fd");
  EXPECT_EQ(sha256_hex(std::string(119, 'x')).substr(0, 8), "000b48d4");
  EXPECT_EQ(sha256_hex(std::string(120, 'x')).substr(0, 8), "13f05a0b");
  EXPECT_EQ(sha256_hex(std::string(128, 'x')).substr(0, 8), "24da1b81");
}

// RFC 4231, test cases 1, 2, 6 (a key longer than a block).
TEST(Sha256, gives_the_published_authentication_codes) {
  const auto code = [](std::string_view key, std::string_view text) {
    return to_hex(hmac_sha256(key, text));
  };
  EXPECT_EQ(code(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(code("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(
      code(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

}  // namespace
}  // namespace atl::storage
