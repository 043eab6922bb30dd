#include "delay_line.h"

#include <cstring>

namespace atl::fault_proxy {

Piece make_piece(std::string_view bytes) {
  Piece piece;
  piece.storage = std::make_unique_for_overwrite<char[]>(bytes.size());
  std::memcpy(piece.storage.get(), bytes.data(), bytes.size());
  piece.end = bytes.size();
  return piece;
}

}  // namespace atl::fault_proxy
