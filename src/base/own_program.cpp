#include "base/own_program.h"

#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>

namespace atl {
namespace {

constexpr std::string_view kOwner{"GNU\0", 4};  // of the note

// The notes of a segment, one after the other: header, name and description, each at a multiple of the segment's
// alignment (System V ABI, "Note Section").
std::string build_id_among(std::span<const uint8_t> notes, size_t alignment) {
  const auto aligned = [&](size_t size) { return (size + alignment - 1) / alignment * alignment; };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes.data(), sizeof header);
    const size_t begin = aligned(sizeof header + header.n_namesz);
    const size_t end = begin + header.n_descsz;
    if (end > notes.size()) break;
    const std::string_view name(reinterpret_cast<const char*>(notes.data()) + sizeof header,
                                header.n_namesz);
    if (header.n_type == NT_GNU_BUILD_ID && name == kOwner) {
      std::string digits;
      for (const uint8_t byte : notes.subspan(begin, end - begin)) {
        digits += fmt::format("{:02x}", byte);
      }
      return digits;
    }
    notes = notes.subspan(std::min(aligned(end), notes.size()));
  }
  return {};
}

// The first object is the program itself.
int find_build_id(dl_phdr_info* program, size_t, void* found) {
  for (const auto& segment : std::span(program->dlpi_phdr, program->dlpi_phnum)) {
    auto& id = *static_cast<std::string*>(found);
    if (segment.p_type != PT_NOTE || !id.empty()) continue;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the loader gives addresses as numbers
    const auto* begin = reinterpret_cast<const uint8_t*>(program->dlpi_addr + segment.p_vaddr);
    id = build_id_among({begin, segment.p_memsz}, segment.p_align == 8 ? 8 : 4);
  }
  return 1;
}

}  // namespace

Result<std::string> own_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail_errno("reading /proc/self/exe", error.value());
  return self.string();
}

std::string own_build() {
  std::string id;
  ::dl_iterate_phdr(find_build_id, &id);
  return id;
}

}  // namespace atl
