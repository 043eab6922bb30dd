#include <gmock/gmock.h>

#include "cli/fs_target.h"
#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

using ::testing::HasSubstr;

using FsCommand = ProgramInFolder;

TEST(ShownName, nothing_in_a_name_can_move_the_cursor) {
  EXPECT_EQ(shown_name("plain name.jpg"), "plain name.jpg");
  EXPECT_EQ(shown_name("ü€😀"), "ü€😀");
  EXPECT_EQ(shown_name("a\nb\\c"), "a\\nb\\\\c");
  EXPECT_EQ(shown_name("\x1b[2J\t\x7f"), "\\x1b[2J\\x09\\x7f");
  EXPECT_EQ(shown_name("\xc2\x9b"), "\\xc2\\x9b");  // CSI, as one character
  EXPECT_EQ(shown_name("\xff\xc3"), "\\xff\\xc3");  // no UTF-8, cut short
  EXPECT_EQ(shown_name("\xc0\xaf\xed\xa0\x80"),
            "\\xc0\\xaf\\xed\\xa0\\x80");  // overlong; surrogate
}

TEST_F(FsCommand, every_command_has_a_help_with_examples) {
  for (const std::string command :
       {"mount", "umount", "ls", "cat", "import", "export", "preload", "release", "status"}) {
    const auto help = run("fs " + command + " --help");
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  atoll fs " + command));
  }
}

TEST_F(FsCommand, what_is_no_bucket_and_no_mount_is_bad_input) {
  EXPECT_EQ(run("fs mount /tmp " + folder_.string()).exit_code, 2);
  const auto preload = run("fs preload " + folder_.string());
  EXPECT_EQ(preload.exit_code, 2);
  EXPECT_THAT(preload.err, HasSubstr("lies in no mount of Atoll's"));
  EXPECT_EQ(run("fs ls " + folder_.string()).exit_code, 2);
  EXPECT_EQ(run("fs cat s3://bucket").exit_code, 2);
}

TEST_F(FsCommand, a_wrong_option_is_named) {
  const auto mount = run("fs mount s3://bucket " + folder_.string() + " -o export=never");
  EXPECT_EQ(mount.exit_code, 2);
  EXPECT_THAT(mount.err, HasSubstr("export=never: it takes close or demand"));
  for (const std::string age : {"soon", "-1", "7w", "d", "99999999999d", "1.5h"}) {
    const auto release = run("fs release s3://bucket --unused=" + age);
    EXPECT_EQ(release.exit_code, 2) << age;
    EXPECT_THAT(release.err, HasSubstr("--unused"));
  }
}

TEST_F(FsCommand, a_list_of_options_may_stand_anywhere) {
  const std::string folder = folder_.string();
  for (const std::string& words : {"-f -o ro,max_age=5 s3://bucket " + folder,
                                   "-o ro,max_age=5 s3://bucket " + folder + " -f",
                                   "s3://bucket -o ro " + folder + " -o max_age=5 -f",
                                   "s3://bucket " + folder + " -f -o ro,max_age=5"}) {
    const auto mount = run("fs mount " + words);  // -f: all but the mounting
    EXPECT_EQ(mount.exit_code, 0) << words << ": " << mount.err;
  }
}

TEST_F(FsCommand, what_is_not_mounted_cannot_be_unmounted) {
  const auto umount = run("fs umount " + folder_.string());
  EXPECT_EQ(umount.exit_code, 2);
  EXPECT_THAT(umount.err, HasSubstr("no bucket is mounted on"));
}

}  // namespace
}  // namespace atl::cli
