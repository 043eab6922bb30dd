// An HttpPerform for tests: answers by a function, keeps what was asked.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "storage/s3/http.h"

namespace atl::storage {

class FakeHttp {
 public:
  using Answer = std::function<Result<HttpResponse>(const HttpRequest&)>;

  void answer(Answer answer) { answer_ = std::move(answer); }
  // The same answer each time.
  void answer(int status, std::string body) {
    answer_ = [status, body = std::move(body)](const HttpRequest&) {
      return response(status, body);
    };
  }

  HttpPerform perform() {
    return [this](const HttpRequest& request) {
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      return answer_ ? answer_(request) : no_connection();
    };
  }

  std::vector<HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  static HttpResponse response(int status, std::string body) {
    HttpResponse response;
    response.status = status;
    response.body_bytes = body.size();
    response.body = std::move(body);
    return response;
  }
  static Result<HttpResponse> no_connection() { return fail(ErrorCode::kIo, "no connection"); }

  static std::string_view header(const HttpRequest& request, std::string_view name) {
    for (const HttpHeader& header : request.headers) {
      if (header.name == name) return header.value;
    }
    return {};
  }

 private:
  Answer answer_;
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
};

}  // namespace atl::storage
