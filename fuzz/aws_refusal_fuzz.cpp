// What AWS's services answer where they refuse, JSON and XML: no secret and nothing that moves a cursor comes out, and every
// refusal makes an error that says something.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "aws/aws_error.h"
#include "base/check.h"
#include "storage/s3/http.h"

namespace {

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::aws;
  atl::storage::HttpResponse response;
  response.status = 400;
  response.body.assign(reinterpret_cast<const char*>(data), size);
  const Refusal refusal = parse_refusal(response, {"SECRET"});
  ATOLL_CHECK(is_printable(refusal.code) && refusal.code.size() <= 100);
  ATOLL_CHECK(is_printable(refusal.message) && refusal.message.size() <= kMaxMessageBytes);
  ATOLL_CHECK(refusal.message.find("SECRET") == std::string::npos);
  const AwsError error = aws_error(kSageMaker, "CreateTrainingJob", response.status, refusal);
  ATOLL_CHECK(error.message.starts_with("SageMaker CreateTrainingJob: "));
  ATOLL_CHECK(is_printable(error.to_string()));
  return 0;
}
