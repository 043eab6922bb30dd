// Where a listing that is half done could be cut in two, when nobody knows what keys are still to come: a key that
// probably lies between those to come, made from the ones that were seen. A wrong guess costs a LIST that finds
// nothing, a right one nothing.
//
// Keys of a directory mostly count something: "000013.jpg", "shard-0007/…". Of such keys the place that
// changes from one page to the next says how far a page reaches, and each place before it ten times as far or more.
// So no guess is longer than that place, and the first ones go a place further to the left each time.
//
// Guesses end in a character of ASCII, as any key does that a LIST can begin behind.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace atl::storage {

// Where `a` and `b` differ first.
size_t first_difference(std::string_view a, std::string_view b);

// The next key that differs from `at` in this place and not before; nullopt where there is none.
std::optional<std::string> key_ahead(std::string_view at, size_t place);

// Between the two, as near to the middle as names of letters and digits are likely to have it, of at most
// place + 1 characters; nullopt where nothing so short lies between.
std::optional<std::string> key_between(std::string_view at, std::string_view past, size_t place);

}  // namespace atl::storage
