// Reads files as a program would, through whatever file system they lie on: Atoll's mount, a peer's, or the local
// one. What bench/storage.py times on all of them alike.
//
//   file_reader sequential FILE BLOCK_BYTES
//   file_reader random FILE BLOCK_BYTES COUNT SEED THREADS
//   file_reader copy FOLDER TO THREADS          every file below FOLDER, to TO/0, TO/1, …; "-": nowhere
//   file_reader hold FOLDER COUNT BLOCK_BYTES   opens COUNT files, reads them in turn, a line when all are open and
//                                               read once; goes on until its input ends
//
// One line of JSON: seconds, bytes, and a checksum that must be the same everywhere.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/crc32c.h"
#include "base/keyed_random.h"
#include "base/unique_fd.h"

namespace atl {
namespace {

[[noreturn]] void stop(const std::string& message) {
  std::cerr << "file_reader: " << message << "\n";
  std::_Exit(1);
}

UniqueFd open_file(const std::string& path, int flags = O_RDONLY) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!fd) stop(fmt::format("{}: {}", path, strerror(errno)));
  return fd;
}

size_t read_at(int fd, std::span<char> buffer, uint64_t offset) {
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t got =
        ::pread(fd, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
    if (got < 0) stop(fmt::format("reading at {}: {}", offset, strerror(errno)));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

struct Sum {
  std::atomic<uint64_t> bytes{0};
  std::atomic<uint64_t> check{0};  // the same in whatever order
  // The first and last bytes say enough, and cost nothing beside the reading.
  void add(std::span<const char> piece, uint64_t offset) {
    bytes += piece.size();
    if (piece.empty()) return;
    const std::span<const char> head = piece.first(std::min<size_t>(piece.size(), 64));
    const std::span<const char> tail = piece.last(head.size());
    check +=
        mix64(offset ^ crc32c(std::as_bytes(head)) ^ (uint64_t{crc32c(std::as_bytes(tail))} << 32));
  }
};

void in_threads(size_t count, const std::function<void(size_t)>& work) {
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (size_t i = 0; i < count; ++i) threads.emplace_back([&work, i] { work(i); });
  for (std::thread& thread : threads) thread.join();
}

void sequential(const std::string& path, size_t block, Sum& sum) {
  const UniqueFd fd = open_file(path);
  std::vector<char> buffer(block);
  uint64_t at = 0;
  while (const size_t got = read_at(fd.get(), buffer, at)) {
    sum.add(std::span(buffer).first(got), at);
    at += got;
  }
}

void random(
    const std::string& path, size_t block, size_t count, uint64_t seed, size_t threads, Sum& sum) {
  const uint64_t blocks = std::filesystem::file_size(path) / block;
  std::atomic<size_t> next{0};
  in_threads(threads, [&](size_t) {
    const UniqueFd fd = open_file(path);
    std::vector<char> buffer(block);
    for (size_t i = next++; i < count; i = next++) {
      const uint64_t at = KeyedRandom({seed, i}).below(blocks) * block;
      sum.add(std::span(buffer).first(read_at(fd.get(), buffer, at)), at);
    }
  });
}

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_directory()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void copy(const std::string& folder, const std::string& to, size_t threads, Sum& sum) {
  const std::vector<std::string> files = files_below(folder);
  std::atomic<size_t> next{0};
  in_threads(threads, [&](size_t) {
    std::vector<char> buffer(1 << 20);
    for (size_t i = next++; i < files.size(); i = next++) {
      const UniqueFd from = open_file(files[i]);
      UniqueFd out;
      if (to != "-") out = open_file(fmt::format("{}/{}", to, i), O_WRONLY | O_CREAT | O_TRUNC);
      uint64_t at = 0;
      while (const size_t got = read_at(from.get(), buffer, at)) {
        sum.add(std::span(buffer).first(got), at);
        if (out && ::write(out.get(), buffer.data(), got) != static_cast<ssize_t>(got))
          stop("cannot write to " + to);
        at += got;
      }
    }
  });
}

void hold(const std::string& folder, size_t count, size_t block, Sum& sum) {
  std::vector<std::string> names = files_below(folder);
  if (names.size() < count) stop(fmt::format("{} holds only {} files", folder, names.size()));
  std::vector<UniqueFd> files;
  for (size_t i = 0; i < count; ++i) files.push_back(open_file(names[i]));
  std::vector<char> buffer(block);
  for (uint64_t round = 0;; ++round) {
    for (const UniqueFd& file : files) {
      sum.add(std::span(buffer).first(read_at(file.get(), buffer, round * block)), round);
      pollfd input = {STDIN_FILENO, POLLIN, 0};
      if (round > 0 && ::poll(&input, 1, 0) > 0) return;
    }
    if (round == 0) std::cout << "open" << std::endl;
  }
}

int run(std::span<char* const> words) {
  const auto word = [&](size_t i) -> std::string {
    return i < words.size()
               ? words[i]
               : (stop("too few arguments; see the head of bench/file_reader.cpp"), "");
  };
  const auto number = [&](size_t i) -> uint64_t { return std::stoull(word(i)); };
  const std::string mode = word(0);
  Sum sum;
  const auto begin = std::chrono::steady_clock::now();
  if (mode == "sequential") {
    sequential(word(1), number(2), sum);
  } else if (mode == "random") {
    random(word(1), number(2), number(3), number(4), number(5), sum);
  } else if (mode == "copy") {
    copy(word(1), word(2), number(3), sum);
  } else if (mode == "hold") {
    hold(word(1), number(2), number(3), sum);
  } else {
    stop(fmt::format("there is no mode '{}'", mode));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::cout << fmt::format("{{\"seconds\":{},\"bytes\":{},\"check\":\"{:016x}\"}}",
                           seconds,
                           sum.bytes.load(),
                           sum.check.load())
            << std::endl;
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run({argv + 1, static_cast<size_t>(argc - 1)}); }
