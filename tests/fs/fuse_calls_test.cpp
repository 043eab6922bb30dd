// Every request of the kernel becomes the right call of the layer, and its answer the right errno.
#include <dirent.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <set>

#include "mounted.h"

namespace atl::fs {
namespace {

using ::testing::Contains;
using ::testing::UnorderedElementsAre;

class FuseCalls : public Mounted {};

std::string pattern(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
  while (const dirent* entry = ::readdir(stream.get())) names.emplace_back(entry->d_name);
  return names;
}

// 0, or the errno.
int errno_of(int result) { return result < 0 ? errno : 0; }

TEST_F(FuseCalls, a_file_is_created_written_and_read_back) {
  const std::string content = pattern(5'000'000);
  write_file("a", content);
  EXPECT_EQ(content_of("a"), content);
  EXPECT_EQ(status_of("a").st_size, 5'000'000);
  EXPECT_EQ(status_of("a").st_blocks, (5'000'000 + 511) / 512);
  EXPECT_EQ(layer_.calls_of("flush"), 1U);
  EXPECT_EQ(layer_.calls_of("release_handle"), layer_.calls_of("create") + layer_.calls_of("open"));
}

TEST_F(FuseCalls, spliced_reads_bring_the_same_bytes) {
  const std::string content = pattern(3'456'789);
  layer_.put("a", content);
  layer_.splice_reads(true);
  EXPECT_EQ(content_of("a"), content);
}

TEST_F(FuseCalls, reads_and_writes_come_a_mebibyte_at_a_time) {
  const std::string content = pattern(size_t{8} << 20);
  write_file("a", content);
  EXPECT_THAT(layer_.calls(), Contains(::testing::EndsWith(" 1048576")).Times(::testing::Ge(8)));
  layer_.put("b", content);
  layer_.forget_calls();
  EXPECT_EQ(content_of("b"), content);
  EXPECT_LE(layer_.calls_of("read"), 9U);
}

TEST_F(FuseCalls, who_creates_something_owns_it) {
  ::umask(022);
  EXPECT_EQ(::mkdir(path("d").c_str(), 0777), 0);
  write_file("d/f", "x");
  EXPECT_EQ(::symlink("target/of it", path("l").c_str()), 0);
  const auto owner = std::to_string(::getuid()) + " " + std::to_string(::getgid());
  EXPECT_THAT(layer_.calls(), Contains("make_directory 1 d 755 " + owner));
  EXPECT_THAT(layer_.calls(), Contains(::testing::StartsWith("create 2 f 644 " + owner)));
  EXPECT_THAT(layer_.calls(), Contains("make_symlink 1 l target/of it " + owner));
  std::string target(100, '\0');
  target.resize(static_cast<size_t>(::readlink(path("l").c_str(), target.data(), target.size())));
  EXPECT_EQ(target, "target/of it");
  EXPECT_TRUE(S_ISLNK(status_of("l").st_mode));
}

TEST_F(FuseCalls, attributes_are_changed_one_by_one) {
  write_file("a", "12345");
  EXPECT_EQ(::chmod(path("a").c_str(), 0640), 0);
  EXPECT_EQ(status_of("a").st_mode, S_IFREG | 0640U);
  const timespec times[] = {{111, 5}, {222, 7}};
  EXPECT_EQ(::utimensat(AT_FDCWD, path("a").c_str(), times, 0), 0);
  EXPECT_EQ(status_of("a").st_atim.tv_sec, 111);
  EXPECT_EQ(status_of("a").st_mtim.tv_nsec, 7);
  const timespec only_modified[] = {{0, UTIME_OMIT}, {333, 0}};
  EXPECT_EQ(::utimensat(AT_FDCWD, path("a").c_str(), only_modified, 0), 0);
  EXPECT_EQ(status_of("a").st_atim.tv_sec, 111);
  EXPECT_EQ(status_of("a").st_mtim.tv_sec, 333);
  EXPECT_EQ(::utimensat(AT_FDCWD, path("a").c_str(), nullptr, 0), 0);
  EXPECT_GT(status_of("a").st_mtim.tv_sec, 1'600'000'000);
  EXPECT_EQ(::truncate(path("a").c_str(), 3), 0);
  EXPECT_EQ(content_of("a"), "123");
  if (::geteuid() == 0) {
    EXPECT_EQ(::chown(path("a").c_str(), 12, 34), 0);
    EXPECT_EQ(status_of("a").st_uid, 12U);
    EXPECT_EQ(status_of("a").st_gid, 34U);
  }
}

TEST_F(FuseCalls, truncating_and_appending_opens_are_honoured) {
  write_file("a", "12345");
  { const UniqueFd file = opened("a", O_WRONLY | O_TRUNC); }
  EXPECT_EQ(status_of("a").st_size, 0);
  for (const char* word : {"one", "two"}) {
    const UniqueFd file = opened("a", O_WRONLY | O_APPEND);
    EXPECT_EQ(::write(file.get(), word, 3), 3);
  }
  EXPECT_EQ(content_of("a"), "onetwo");
}

TEST_F(FuseCalls, renames_carry_their_flags) {
  write_file("a", "A");
  write_file("b", "B");
  EXPECT_EQ(errno_of(::renameat2(
                AT_FDCWD, path("a").c_str(), AT_FDCWD, path("b").c_str(), RENAME_NOREPLACE)),
            EEXIST);
  EXPECT_EQ(::renameat2(AT_FDCWD, path("a").c_str(), AT_FDCWD, path("b").c_str(), RENAME_EXCHANGE),
            0);
  EXPECT_EQ(content_of("a"), "B");
  EXPECT_EQ(::rename(path("a").c_str(), path("b").c_str()), 0);
  EXPECT_EQ(content_of("b"), "B");
  EXPECT_EQ(errno_of(::access(path("a").c_str(), F_OK)), ENOENT);
}

TEST_F(FuseCalls, what_is_removed_while_open_can_still_be_read) {
  write_file("a", "content");
  const InodeNumber inode = status_of("a").st_ino;
  UniqueFd file = opened("a", O_RDONLY);
  EXPECT_EQ(::unlink(path("a").c_str()), 0);
  std::string content(7, '\0');
  EXPECT_EQ(::read(file.get(), content.data(), content.size()), 7);
  EXPECT_EQ(content, "content");
  file = UniqueFd();
  layer_.wait_until_forgotten(inode);
}

TEST_F(FuseCalls, directories_are_made_and_removed) {
  EXPECT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  EXPECT_EQ(errno_of(::mkdir(path("d").c_str(), 0755)), EEXIST);
  write_file("d/f", "x");
  EXPECT_EQ(errno_of(::rmdir(path("d").c_str())), ENOTEMPTY);
  EXPECT_EQ(errno_of(::unlink(path("d").c_str())), EISDIR);
  EXPECT_EQ(::unlink(path("d/f").c_str()), 0);
  EXPECT_EQ(::rmdir(path("d").c_str()), 0);
}

TEST_F(FuseCalls, a_large_directory_is_listed_whole_and_each_name_once) {
  std::set<std::string> names = {".", ".."};
  for (int i = 0; i < 4321; ++i) {
    const std::string name = "file-" + std::to_string(i);
    layer_.put(name, "");
    names.insert(name);
  }
  const auto listed = names_in(point_);
  EXPECT_EQ(listed.size(), names.size());
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), names);
  // The first pages brought the attributes along.
  layer_.forget_calls();
  (void)status_of("file-1");
  EXPECT_EQ(layer_.calls_of("lookup"), 0U);
}

TEST_F(FuseCalls, a_directory_can_be_read_again_from_any_place) {
  for (int i = 0; i < 2500; ++i) layer_.put("file-" + std::to_string(10000 + i), "");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(point_.c_str()), ::closedir);
  std::vector<std::pair<long, std::string>> places;
  for (long at = ::telldir(stream.get()); const dirent* entry = ::readdir(stream.get());
       at = ::telldir(stream.get())) {
    places.emplace_back(at, entry->d_name);
  }
  ASSERT_EQ(places.size(), 2502U);
  for (const size_t i : {2400U, 1500U, 100U, 0U, 1002U, 2501U}) {
    ::seekdir(stream.get(), places[i].first);
    EXPECT_EQ(::readdir(stream.get())->d_name, places[i].second);
  }
}

TEST_F(FuseCalls, everything_is_removed_while_it_is_listed) {
  for (int i = 0; i < 3000; ++i) layer_.put("file-" + std::to_string(i), "");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(point_.c_str()), ::closedir);
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_name[0] == '.') continue;
    EXPECT_EQ(::unlink(path(entry->d_name).c_str()), 0);
  }
  EXPECT_THAT(names_in(point_), UnorderedElementsAre(".", ".."));
}

TEST_F(FuseCalls, extended_attributes_of_programs_are_the_layers) {
  write_file("a", "");
  const std::string name = path("a");
  EXPECT_EQ(::setxattr(name.c_str(), "user.colour", "blue", 4, XATTR_CREATE), 0);
  EXPECT_EQ(errno_of(::setxattr(name.c_str(), "user.colour", "red", 3, XATTR_CREATE)), EEXIST);
  EXPECT_EQ(errno_of(::setxattr(name.c_str(), "user.size", "1", 1, XATTR_REPLACE)), ENODATA);
  char value[16] = {};
  EXPECT_EQ(::getxattr(name.c_str(), "user.colour", value, sizeof(value)), 4);
  EXPECT_STREQ(value, "blue");
  EXPECT_EQ(::getxattr(name.c_str(), "user.colour", nullptr, 0), 4);
  EXPECT_EQ(errno_of(static_cast<int>(::getxattr(name.c_str(), "user.colour", value, 2))), ERANGE);
  EXPECT_EQ(::listxattr(name.c_str(), value, sizeof(value)), 12);
  EXPECT_EQ(std::string(value, 12), std::string("user.colour\0", 12));
  EXPECT_EQ(::removexattr(name.c_str(), "user.colour"), 0);
  EXPECT_EQ(errno_of(static_cast<int>(::getxattr(name.c_str(), "user.colour", value, 16))),
            ENODATA);
}

TEST_F(FuseCalls, other_extended_attributes_do_not_reach_the_layer) {
  write_file("a", "");
  layer_.forget_calls();
  char value[16] = {};
  EXPECT_LT(::getxattr(path("a").c_str(), "security.capability", value, sizeof(value)), 0);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(errno_of(::setxattr(path("a").c_str(), "trusted.x", "1", 1, 0)), EOPNOTSUPP);
  EXPECT_EQ(errno_of(::removexattr(path("a").c_str(), "trusted.x")), EOPNOTSUPP);
  EXPECT_EQ(layer_.calls_of("xattr") + layer_.calls_of("set_xattr"), 0U);
}

TEST_F(FuseCalls, the_size_of_the_file_system_is_the_layers) {
  struct statvfs all {};
  EXPECT_EQ(::statvfs(point_.c_str(), &all), 0);
  EXPECT_EQ(all.f_blocks, 1000U);
  EXPECT_EQ(all.f_bavail, 500U);
  EXPECT_EQ(all.f_namemax, 255U);
}

TEST_F(FuseCalls, fsync_reaches_the_layer) {
  write_file("a", "x");
  const UniqueFd file = opened("a", O_RDWR);
  EXPECT_EQ(::fsync(file.get()), 0);
  EXPECT_EQ(layer_.calls_of("fsync"), 1U);
  layer_.fail("fsync", EIO);
  EXPECT_EQ(errno_of(::fdatasync(file.get())), EIO);
}

TEST_F(FuseCalls, shared_maps_are_written_back) {
  write_file("a", std::string(10'000, 'a'));
  UniqueFd file = opened("a", O_RDWR);
  void* const map = ::mmap(nullptr, 10'000, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  std::memset(static_cast<char*>(map) + 5000, 'b', 1000);
  EXPECT_EQ(::msync(map, 10'000, MS_SYNC), 0);
  EXPECT_EQ(::munmap(map, 10'000), 0);
  file = UniqueFd();
  EXPECT_GT(layer_.calls_of("write"), 1U);
  layer_.tell(
      {.inode = status_of("a").st_ino});  // read from the layer, not from the kernel's pages
  EXPECT_EQ(content_of("a"),
            std::string(5000, 'a') + std::string(1000, 'b') + std::string(4000, 'a'));
}

TEST_F(FuseCalls, hard_links_pipes_and_devices_are_refused) {
  write_file("a", "x");
  EXPECT_EQ(errno_of(::link(path("a").c_str(), path("b").c_str())), EPERM);
  EXPECT_EQ(errno_of(::mkfifo(path("p").c_str(), 0600)), EPERM);
  EXPECT_EQ(::mknod(path("f").c_str(), S_IFREG | 0600, 0), 0);
  EXPECT_EQ(status_of("f").st_mode, S_IFREG | 0600U);
  EXPECT_EQ(layer_.open_handles(), 0U);
}

TEST_F(FuseCalls, space_is_not_reserved_but_files_can_be_made_longer_and_copied_in_the_kernel) {
  write_file("a", pattern(100'000));
  const UniqueFd from = opened("a", O_RDWR);
  EXPECT_EQ(errno_of(::fallocate(from.get(), 0, 0, 200'000)), EOPNOTSUPP);
  EXPECT_EQ(::posix_fallocate(from.get(), 0, 150'000), 0);
  EXPECT_EQ(status_of("a").st_size, 150'000);
  const UniqueFd to = opened("b", O_CREAT | O_RDWR);
  off_t start = 0;
  ssize_t copied = 0;
  while (copied < 150'000) {
    const ssize_t piece = ::copy_file_range(from.get(), &start, to.get(), nullptr, 150'000, 0);
    ASSERT_GT(piece, 0) << strerror(errno);
    copied += piece;
  }
  EXPECT_EQ(content_of("b"), pattern(100'000) + std::string(50'000, '\0'));
  EXPECT_EQ(::lseek(from.get(), 0, SEEK_HOLE), 150'000);
  EXPECT_EQ(::lseek(from.get(), 10, SEEK_DATA), 10);
}

// Runs it in another process, for locks belong to processes; gives its exit code.
int in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(FuseCalls, locks_hold_between_processes) {
  write_file("a", "x");
  const UniqueFd file = opened("a", O_RDWR);
  const auto try_flock = [&] {
    const UniqueFd other = opened("a", O_RDWR);
    return errno_of(::flock(other.get(), LOCK_EX | LOCK_NB));
  };
  EXPECT_EQ(::flock(file.get(), LOCK_EX), 0);
  EXPECT_EQ(in_child(try_flock), EWOULDBLOCK);
  EXPECT_EQ(::flock(file.get(), LOCK_UN), 0);
  EXPECT_EQ(in_child(try_flock), 0);
  struct flock first_byte {};
  first_byte.l_type = F_WRLCK;
  first_byte.l_len = 1;
  EXPECT_EQ(::fcntl(file.get(), F_SETLK, &first_byte), 0);
  const auto try_fcntl = [&] {
    const UniqueFd other = opened("a", O_RDWR);
    struct flock wanted = first_byte;
    return errno_of(::fcntl(other.get(), F_SETLK, &wanted));
  };
  EXPECT_EQ(in_child(try_fcntl), EAGAIN);
}

TEST_F(FuseCalls, the_layers_errors_arrive_as_they_are) {
  write_file("a", "x");
  ASSERT_EQ(::mkdir(path("d").c_str(), 0755), 0);
  const std::string file = path("a");
  const std::vector<std::pair<std::string, std::function<int()>>> uses = {
      {"lookup", [&] { return ::access(path("none").c_str(), F_OK); }},
      {"open", [&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC); }},
      {"create", [&] { return ::open(path("new").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600); }},
      {"set_attributes", [&] { return ::chmod(file.c_str(), 0600); }},
      {"make_directory", [&] { return ::mkdir(path("e").c_str(), 0755); }},
      {"make_symlink", [&] { return ::symlink("x", path("l").c_str()); }},
      {"unlink", [&] { return ::unlink(file.c_str()); }},
      {"remove_directory", [&] { return ::rmdir(path("d").c_str()); }},
      {"rename", [&] { return ::rename(file.c_str(), path("b").c_str()); }},
      {"set_xattr", [&] { return ::setxattr(file.c_str(), "user.x", "1", 1, 0); }},
      {"xattr", [&] { return static_cast<int>(::getxattr(file.c_str(), "user.x", nullptr, 0)); }},
      {"xattrs", [&] { return static_cast<int>(::listxattr(file.c_str(), nullptr, 0)); }},
      {"remove_xattr", [&] { return ::removexattr(file.c_str(), "user.x"); }},
      {"statistics",
       [&] {
         struct statvfs all {};
         return ::statvfs(point_.c_str(), &all);
       }},
  };
  for (const auto& [call, use] : uses) {
    for (const int error_number : {EIO, EACCES, ENOSPC, ESTALE}) {
      layer_.fail(call, error_number);
      EXPECT_EQ(errno_of(use()), error_number) << call;
    }
    layer_.fail(call, 0);
  }
}

TEST_F(FuseCalls, errors_of_open_files_arrive_as_they_are) {
  write_file("a", "x");
  UniqueFd file = opened("a", O_RDWR);
  layer_.fail("read", EIO);
  char byte = 0;
  EXPECT_EQ(errno_of(static_cast<int>(::read(file.get(), &byte, 1))), EIO);
  layer_.fail("write", ENOSPC);
  EXPECT_EQ(errno_of(static_cast<int>(::write(file.get(), "y", 1))), ENOSPC);
  layer_.fail("flush", EDQUOT);
  EXPECT_EQ(errno_of(::close(file.release())), EDQUOT);
  layer_.fail("list", EIO);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(point_.c_str()), ::closedir);
  errno = 0;
  while (::readdir(stream.get()) != nullptr) {
  }
  EXPECT_EQ(errno, EIO);
}

}  // namespace
}  // namespace atl::fs
