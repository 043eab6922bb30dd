// Words of a shell's command.
#pragma once

#include <string>
#include <string_view>

namespace atl {

// As one word: as it is where nothing in it means something to the shell.
std::string shell_word(std::string_view text);

}  // namespace atl
