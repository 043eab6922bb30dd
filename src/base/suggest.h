// "Did you mean ...?"
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace atl {

// The candidate that is nearest to the word in letters typed, left out, added or swapped; "" where
// none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace atl
