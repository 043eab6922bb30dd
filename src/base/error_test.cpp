#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/check.h"

namespace atl {
namespace {

Result<int> inner(bool ok) {
  if (!ok) return fail(ErrorCode::kCorrupt, "byte 7: bad", "copy it again");
  return 3;
}
Result<int> outer(bool ok) { return 1 + ATOLL_TRY_CONTEXT(inner(ok), "a.json"); }
Result<void> outermost(bool ok) {
  (void)ATOLL_TRY_CONTEXT(outer(ok), "reading annotations");
  return {};
}

TEST(Error, a_value_passes_through_try) { EXPECT_EQ(outer(true).value(), 4); }

TEST(Error, reads_as_one_line_with_context_outermost_first_and_the_hint_last) {
  const auto result = outermost(false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().to_string(), "reading annotations: a.json: byte 7: bad (copy it again)");
}

TEST(Error, what_would_be_the_same_again_is_told_from_other_failures) {
  for (const ErrorCode code :
       {ErrorCode::kInvalidInput, ErrorCode::kNotFound, ErrorCode::kCorrupt}) {
    EXPECT_EQ(exit_code(fail(code, "x").value()), 2);
  }
  for (const ErrorCode code : {ErrorCode::kPermission,
                               ErrorCode::kConflict,
                               ErrorCode::kIo,
                               ErrorCode::kUnsupported,
                               ErrorCode::kInternal}) {
    EXPECT_EQ(exit_code(fail(code, "x").value()), 1);
  }
}

TEST(Error, a_missing_file_is_not_found) {
  EXPECT_EQ(fail_errno("x", ENOENT).value().code, ErrorCode::kNotFound);
  EXPECT_EQ(fail_errno("x", ENOSPC).value().code, ErrorCode::kIo);
}

TEST(CheckDeathTest, a_broken_invariant_names_its_values) {
  EXPECT_DEATH(ATOLL_CHECK(1 > 2) << "one " << 1, "broken invariant: 1 > 2 one 1");
}

}  // namespace
}  // namespace atl
