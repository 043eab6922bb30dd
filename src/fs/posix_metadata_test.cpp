#include "fs/posix_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace atl::fs {
namespace {

TEST(PosixMetadata, what_fsx_writes_is_understood) {
  const PosixFacts facts = read_posix({{"file-permissions", "0100664"},
                                       {"file-owner", "500"},
                                       {"file-group", "501"},
                                       {"file-atime", "1595002920000000000ns"},
                                       {"file-mtime", "1595002920"}});
  EXPECT_EQ(facts.mode, S_IFREG | 0664U);
  EXPECT_EQ(facts.uid, 500U);
  EXPECT_EQ(facts.gid, 501U);
  EXPECT_EQ(facts.accessed_ns, 1595002920000000000);
  EXPECT_EQ(facts.modified_ns, 1595002920'000'000);  // milliseconds
}

TEST(PosixMetadata, what_makes_no_sense_is_as_if_it_were_not_there) {
  EXPECT_EQ(read_posix({{"file-permissions", "0999"},
                        {"file-owner", "-1"},
                        {"file-group", "4294967296"},
                        {"file-atime", "9223372036854775807"},
                        {"file-mtime", "12 ns"}}),
            PosixFacts{});
  EXPECT_EQ(read_posix({{"file-permissions", "0060644"}}).mode, std::nullopt);     // a block device
  EXPECT_EQ(read_posix({{"file-permissions", "0104755"}}).mode, S_IFREG | 0755U);  // no setuid
}

TEST(PosixMetadata, attributes_come_back_and_foreign_metadata_stays) {
  Row row;
  row.mode = S_IFREG | 02640;
  row.uid = 4'000'000'000;
  row.gid = 7;
  row.accessed_ns = -1;
  row.modified_ns = 1'700'000'000'123'456'789;
  storage::Metadata metadata{{"mine", "kept"}, {"file-owner", "old"}};
  write_posix(row, metadata);
  EXPECT_EQ(metadata["mine"], "kept");
  EXPECT_TRUE(has_posix(metadata));
  EXPECT_EQ(read_posix(metadata),
            (PosixFacts{row.mode, row.uid, row.gid, row.accessed_ns, row.modified_ns}));
}

TEST(PosixMetadata, extended_attributes_of_any_bytes_come_back) {
  Xattrs xattrs;
  std::string all;
  for (int i = 0; i < 256; ++i) {
    all += static_cast<char>(i);
    xattrs["user.N" + std::to_string(i) + "\xff"] = all;
  }
  storage::Metadata metadata{{"atoll-xattr-6f6c64", "b2xk"}, {"mine", "kept"}};
  write_xattrs(xattrs, metadata);
  EXPECT_EQ(read_xattrs(metadata), xattrs);
  EXPECT_EQ(metadata.size(), xattrs.size() + 1);
  for (const auto& [name, value] : metadata) {
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos);
  }
  EXPECT_TRUE(read_xattrs({{"atoll-xattr-6", "b2xk"},
                           {"atoll-xattr-6x", "b2xk"},
                           {"atoll-xattr-61", "b2x"},
                           {"atoll-xattr-62", "=b2x"},
                           {"atoll-xattr-00", "b2xk"}})
                  .empty());
}

}  // namespace
}  // namespace atl::fs
