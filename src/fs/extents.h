// A set of byte ranges: which parts of a file's content lie on the local disk.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace atl::fs {

struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;  // one past the last byte
  bool operator==(const Range&) const = default;
};

class Extents {
 public:
  void add(Range range);
  // Removes everything from `size` on.
  void clip(uint64_t size);
  void clear() { ranges_.clear(); }

  bool covers(Range range) const;
  bool empty() const { return ranges_.empty(); }
  uint64_t bytes() const;
  // `range` in pieces, in order: what is in the set and what is not.
  struct Piece {
    Range range;
    bool present = false;
  };
  std::vector<Piece> pieces(Range range) const;

  // For the journal. parse(): nullopt for what text() cannot have written.
  std::string text() const;
  static std::optional<Extents> parse(std::string_view text);
  bool operator==(const Extents&) const = default;

 private:
  std::map<uint64_t, uint64_t> ranges_;  // begin -> end; apart from each other, never empty
};

}  // namespace atl::fs
