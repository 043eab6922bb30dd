#include "sagemaker/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>

#include "sagemaker/temporary_folder.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

storage::Blob blob_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return storage::Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

struct Member {
  std::string name;
  std::string text = "x";
  unsigned type = AE_IFREG;
  std::string target = {};  // of a link
  bool hard = false;
};

// An archive as somebody else would make it.
storage::Blob archive_of(const std::vector<Member>& members) {
  std::vector<char> buffer(1 << 20);
  size_t used = 0;
  archive* writer = archive_write_new();
  archive_write_set_format_gnutar(writer);
  archive_write_add_filter_gzip(writer);
  EXPECT_EQ(archive_write_open_memory(writer, buffer.data(), buffer.size(), &used), ARCHIVE_OK);
  for (const Member& member : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, member.name.c_str());
    archive_entry_set_filetype(entry, member.type);
    archive_entry_set_perm(entry, 0644);
    if (member.type == AE_IFLNK) archive_entry_set_symlink(entry, member.target.c_str());
    if (member.hard) archive_entry_set_hardlink(entry, member.target.c_str());
    const bool has_data = member.type == AE_IFREG && !member.hard;
    archive_entry_set_size(entry, has_data ? static_cast<la_int64_t>(member.text.size()) : 0);
    EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK) << archive_error_string(writer);
    if (has_data) archive_write_data(writer, member.text.data(), member.text.size());
    archive_entry_free(entry);
  }
  EXPECT_EQ(archive_write_close(writer), ARCHIVE_OK);
  archive_write_free(writer);
  return blob_of(std::string_view(buffer.data(), used));
}

std::vector<std::string> names_in(const stdfs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : stdfs::recursive_directory_iterator(folder)) {
    names.push_back(entry.path().lexically_relative(folder).string());
  }
  return names;
}

class ArchiveTest : public testing::Test {
 protected:
  std::string refusal(const storage::Blob& archive, const ArchiveLimits& limits = {}) {
    const TemporaryFolder folder;
    const auto names = unpack_archive(archive, "m.tar.gz", folder.path(), nullptr, limits);
    EXPECT_THAT(names_in(folder.path()), IsEmpty());
    return names ? "taken" : names.error().to_string();
  }
  storage::Blob read(const stdfs::path& file) { return blob_of(TemporaryFolder::contents(file)); }

  const TemporaryFolder folder_;
};

TEST_F(ArchiveTest, gives_back_the_files_of_all_hosts) {
  folder_.write("1/model.safetensors", std::string(3'000'000, 'w'));
  folder_.write("1/a/b/config.toml", "x = 1\n");
  folder_.write("1/empty", "");
  folder_.write("2/extra", "of the second host");
  const std::array<stdfs::path, 3> folders = {
      folder_.path() / "1", folder_.path() / "2", folder_.path() / "none"};
  const stdfs::path file = folder_.path() / "model.tar.gz";
  const auto written = write_archive(folders, file);
  ASSERT_TRUE(written.has_value()) << written.error().to_string();
  EXPECT_EQ(written->files, 4U);
  EXPECT_EQ(written->bytes, 3'000'024U);
  EXPECT_LT(stdfs::file_size(file), 100'000U);
  const TemporaryFolder unpacked;
  const auto names = unpack_archive(read(file), "model.tar.gz", unpacked.path());
  ASSERT_TRUE(names.has_value()) << names.error().to_string();
  EXPECT_THAT(*names, ElementsAre("a/b/config.toml", "empty", "extra", "model.safetensors"));
  EXPECT_EQ(unpacked.read("model.safetensors"), std::string(3'000'000, 'w'));
  EXPECT_EQ(unpacked.read("a/b/config.toml"), "x = 1\n");
  EXPECT_EQ(unpacked.read("extra"), "of the second host");
}

TEST_F(ArchiveTest, is_the_same_for_the_same_files) {
  const stdfs::path file = folder_.write("1/a", "x");
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), std::array<timespec, 2>{}.data(), 0), 0);
  const std::array<stdfs::path, 1> folders = {folder_.path() / "1"};
  ASSERT_TRUE(write_archive(folders, folder_.path() / "a.tar.gz").has_value());
  ASSERT_TRUE(write_archive(folders, folder_.path() / "b.tar.gz").has_value());
  EXPECT_EQ(folder_.read("a.tar.gz"), folder_.read("b.tar.gz"));
}

TEST_F(ArchiveTest, says_what_it_leaves_out) {
  folder_.write("1/a", "first");
  folder_.write("2/a", "second");
  stdfs::create_symlink("/etc/passwd", folder_.path() / "1/link");
  ASSERT_EQ(::mkfifo((folder_.path() / "1/pipe").c_str(), 0600), 0);
  const std::array<stdfs::path, 2> folders = {folder_.path() / "1", folder_.path() / "2"};
  const stdfs::path file = folder_.path() / "m.tar";
  const auto written = write_archive(folders, file, /*compressed=*/false);
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(written->files, 1U);
  EXPECT_THAT(written->notes,
              testing::UnorderedElementsAre(HasSubstr("link: is no regular file"),
                                            HasSubstr("pipe: is no regular file"),
                                            HasSubstr("2/a: another host has a file")));
  const TemporaryFolder unpacked;
  ASSERT_TRUE(unpack_archive(read(file), "m.tar", unpacked.path()).has_value());
  EXPECT_EQ(unpacked.read("a"), "first");
}

TEST_F(ArchiveTest, is_not_there_where_it_could_not_be_written) {
  folder_.write("1/a", "x");
  const std::array<stdfs::path, 1> folders = {folder_.path() / "1"};
  EXPECT_FALSE(write_archive(folders, folder_.path() / "none/m.tar.gz").has_value());
  stdfs::create_directories(folder_.path() / "m.tar.gz/x");  // rename() cannot replace it
  EXPECT_FALSE(write_archive(folders, folder_.path() / "m.tar.gz").has_value());
  EXPECT_FALSE(stdfs::exists(folder_.path() / "m.tar.gz.unfinished"));
}

TEST_F(ArchiveTest, with_a_name_that_leaves_its_folder_is_refused) {
  for (const char* name : {"../x", "a/../../x", "/etc/x", "a/..", "a//b", "..", "a/./b"}) {
    EXPECT_THAT(refusal(archive_of({{"good"}, {name}})), HasSubstr("leaves its folder")) << name;
  }
}

TEST_F(ArchiveTest, with_a_link_is_refused) {
  EXPECT_THAT(refusal(archive_of({{"good"}, {"l", "", AE_IFLNK, "/etc/passwd"}})),
              HasSubstr("\"l\" is a link"));
  EXPECT_THAT(refusal(archive_of({{"good"}, {"l", "", AE_IFREG, "good", true}})),
              HasSubstr("\"l\" is a link"));
  // The classic: a link to a folder, and a file behind it.
  EXPECT_THAT(refusal(archive_of({{"d", "", AE_IFLNK, "/tmp"}, {"d/x"}})), HasSubstr("is a link"));
}

TEST_F(ArchiveTest, with_a_device_or_a_pipe_is_refused) {
  for (const unsigned type : {AE_IFIFO, AE_IFCHR, AE_IFBLK}) {
    EXPECT_THAT(refusal(archive_of({{"p", "", type}})), HasSubstr("neither file nor folder"));
  }
}

TEST_F(ArchiveTest, with_a_name_twice_is_refused) {
  EXPECT_THAT(refusal(archive_of({{"a"}, {"./a"}})), HasSubstr("is there twice"));
}

TEST_F(ArchiveTest, that_is_too_large_is_refused_whatever_is_wanted_of_it) {
  const ArchiveLimits small{.max_bytes = 1000, .max_files = 2};
  EXPECT_EQ(refusal(archive_of({{"a", std::string(1001, 'x')}}), small).substr(0, 3), "m.t");
  EXPECT_THAT(
      refusal(archive_of({{"a", std::string(600, 'x')}, {"b", std::string(600, 'x')}}), small),
      HasSubstr("in all"));
  EXPECT_THAT(refusal(archive_of({{"a"}, {"b"}, {"c"}}), small), HasSubstr("more than 2 files"));
  const auto nothing = [](std::string_view) { return false; };
  EXPECT_FALSE(unpack_archive(
                   archive_of({{"a", std::string(1001, 'x')}}), "m", folder_.path(), nothing, small)
                   .has_value());
}

TEST_F(ArchiveTest, that_is_none_or_ends_early_is_refused) {
  for (const char* text :
       {"", "x", "not an archive, but long enough to be looked at", "\x1f\x8b\x08"}) {
    EXPECT_NE(refusal(blob_of(text)), "taken") << text;
  }
  std::string noise(200'000, '\0');
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * i * 31 % 251);
  const auto whole = archive_of({{"a"}, {"b", noise}});
  const std::string_view text = whole.text();
  for (const size_t size : {text.size() / 3, text.size() / 2, text.size() * 9 / 10}) {
    EXPECT_THAT(refusal(blob_of(text.substr(0, size))), HasSubstr("no whole tar")) << size;
  }
}

TEST_F(ArchiveTest, has_folders_and_takes_what_is_wanted) {
  const auto archive = archive_of(
      {{"./", "", AE_IFDIR}, {"d/", "", AE_IFDIR}, {"./d/model.safetensors", "w"}, {"x"}});
  const auto names = unpack_archive(archive, "m", folder_.path(), [](std::string_view name) {
    return name == "d/model.safetensors";
  });
  ASSERT_TRUE(names.has_value()) << names.error().to_string();
  EXPECT_THAT(*names, ElementsAre("d/model.safetensors"));
  EXPECT_EQ(folder_.read("d/model.safetensors"), "w");
  EXPECT_FALSE(stdfs::exists(folder_.path() / "x"));
}

TEST_F(ArchiveTest, is_known_by_its_name) {
  EXPECT_TRUE(is_archive_name("s3://b/j/output/model.tar.gz"));
  EXPECT_TRUE(is_archive_name("m.tgz"));
  EXPECT_FALSE(is_archive_name("model.safetensors"));
}

}  // namespace
}  // namespace atl::sagemaker
