#include "fs/posix_metadata.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <charconv>

#include "base/crc32c.h"

namespace atl::fs {
namespace {

constexpr std::string_view kPermissions = "file-permissions";
constexpr std::string_view kOwner = "file-owner";
constexpr std::string_view kGroup = "file-group";
constexpr std::string_view kAccessed = "file-atime";
constexpr std::string_view kModified = "file-mtime";
constexpr std::string_view kXattr = "atoll-xattr-";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

template <typename T>
std::optional<T> parse_number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::string_view> find(const storage::Metadata& metadata, std::string_view name) {
  const auto found = metadata.find(std::string(name));
  if (found == metadata.end()) return std::nullopt;
  return found->second;
}

std::optional<int64_t> parse_time(std::string_view text) {
  if (text.ends_with("ns")) return parse_number<int64_t>(text.substr(0, text.size() - 2));
  constexpr int64_t kNanosecondsPerMillisecond = 1'000'000;
  const auto milliseconds = parse_number<int64_t>(text);
  int64_t nanoseconds = 0;
  if (!milliseconds ||
      __builtin_mul_overflow(*milliseconds, kNanosecondsPerMillisecond, &nanoseconds)) {
    return std::nullopt;
  }
  return nanoseconds;
}

std::optional<uint32_t> parse_mode(std::string_view text) {
  const auto value = parse_number<uint32_t>(text, 8);
  if (!value || (*value & ~uint32_t{S_IFMT | 07777}) != 0) return std::nullopt;
  const uint32_t type = *value & S_IFMT;
  if (type != 0 && type != S_IFREG && type != S_IFDIR && type != S_IFLNK) return std::nullopt;
  return *value & ~uint32_t{S_ISUID};
}

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

std::optional<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (size_t at = 0; at < hex.size(); at += 2) {
    const auto byte = parse_number<uint8_t>(hex.substr(at, 2), 16);
    if (!byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
  }
  return bytes;
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    const size_t n = std::min<size_t>(3, bytes.size() - at);
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < n ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      text += i <= n ? kBase64[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  for (size_t at = 0; at < text.size(); at += 4) {
    uint32_t group = 0;
    size_t n = 0;  // characters before the padding
    for (size_t i = 0; i < 4; ++i) {
      const char c = text[at + i];
      const size_t value = c == '=' ? 0 : kBase64.find(c);
      if (value == std::string_view::npos) return std::nullopt;
      if (c != '=' && n != i) return std::nullopt;  // padding in the middle
      if (c != '=') ++n;
      group = group << 6 | static_cast<uint32_t>(value);
    }
    if (n < 2 || (n < 4 && at + 4 != text.size())) return std::nullopt;
    for (size_t i = 0; i + 1 < n; ++i) bytes += static_cast<char>(group >> (16 - 8 * i) & 255);
  }
  return bytes;
}

}  // namespace

PosixFacts read_posix(const storage::Metadata& metadata) {
  PosixFacts facts;
  if (const auto text = find(metadata, kPermissions)) facts.mode = parse_mode(*text);
  if (const auto text = find(metadata, kOwner)) facts.uid = parse_number<uint32_t>(*text);
  if (const auto text = find(metadata, kGroup)) facts.gid = parse_number<uint32_t>(*text);
  if (const auto text = find(metadata, kAccessed)) facts.accessed_ns = parse_time(*text);
  if (const auto text = find(metadata, kModified)) facts.modified_ns = parse_time(*text);
  return facts;
}

Xattrs read_xattrs(const storage::Metadata& metadata) {
  Xattrs xattrs;
  for (auto at = metadata.lower_bound(std::string(kXattr)); at != metadata.end(); ++at) {
    if (!at->first.starts_with(kXattr)) break;
    const auto name = from_hex(std::string_view(at->first).substr(kXattr.size()));
    auto value = from_base64(at->second);
    if (!name || !value || name->empty() || name->find('\0') != std::string::npos) continue;
    xattrs.emplace("user." + *name, std::move(*value));
  }
  return xattrs;
}

bool has_posix(const storage::Metadata& metadata) {
  return metadata.contains(std::string(kPermissions));
}

void write_posix(const Row& row, storage::Metadata& metadata) {
  metadata[std::string(kPermissions)] = fmt::format("{:07o}", row.mode & ~uint32_t{S_ISUID});
  metadata[std::string(kOwner)] = fmt::format("{}", row.uid);
  metadata[std::string(kGroup)] = fmt::format("{}", row.gid);
  metadata[std::string(kAccessed)] = fmt::format("{}ns", row.accessed_ns);
  metadata[std::string(kModified)] = fmt::format("{}ns", row.modified_ns);
  metadata["user-agent"] = "atoll-fs";
}

void write_xattrs(const Xattrs& xattrs, storage::Metadata& metadata) {
  const auto begin = metadata.lower_bound(std::string(kXattr));
  auto end = begin;
  while (end != metadata.end() && end->first.starts_with(kXattr)) ++end;
  metadata.erase(begin, end);
  for (const auto& [name, value] : xattrs) {
    const std::string_view bare = std::string_view(name).substr(std::string_view("user.").size());
    metadata[fmt::format("{}{}", kXattr, to_hex(bare))] = to_base64(value);
  }
}

namespace {

std::string tag_begin(std::string_view journal, std::string_view key) {
  return fmt::format("{}-{:08x}-", journal, crc32c(key));
}

}  // namespace

std::string write_tag(std::string_view journal,
                      std::string_view key,
                      uint64_t inode,
                      uint64_t change) {
  return fmt::format("{}{}-{}", tag_begin(journal, key), inode, change);
}

bool is_written_by(const storage::Metadata& metadata,
                   std::string_view journal,
                   std::string_view key,
                   std::optional<uint64_t> inode) {
  const auto tag = find(metadata, kWriteTag);
  std::string begin = tag_begin(journal, key);
  if (inode) begin += fmt::format("{}-", *inode);
  return tag && tag->starts_with(begin);
}

size_t metadata_bytes(const Xattrs& xattrs) {
  storage::Metadata metadata;
  write_xattrs(xattrs, metadata);
  size_t bytes = 0;
  for (const auto& [name, value] : metadata) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace atl::fs
