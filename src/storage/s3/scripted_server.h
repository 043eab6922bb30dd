// An HTTP server for tests, on this machine's loopback: answers what the test says, well or badly.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "storage/s3/http.h"

namespace atl::storage {

struct ScriptedRequest {
  std::string method;
  std::string target;               // path and query as they came
  std::vector<HttpHeader> headers;  // names in lower case
  std::string body;
  int connection = 0;  // how many there were before it

  std::string_view header(std::string_view lower_case_name) const;
};

// Bytes as they go out, and what becomes of the connection then.
struct ScriptedAnswer {
  enum class Then {
    kKeep,
    kClose,
    kReset,
    kHold,  // nothing more is sent until the server ends
  };
  std::string bytes;
  Then then = Then::kKeep;
};

// A whole answer with its Content-Length.
ScriptedAnswer scripted_answer(int status,
                               std::string_view body = {},
                               const std::vector<HttpHeader>& headers = {});

class ScriptedServer {
 public:
  // Called for each request, in the thread of its connection.
  using Script = std::function<ScriptedAnswer(const ScriptedRequest& request)>;

  explicit ScriptedServer(Script script);
  ~ScriptedServer();

  int port() const { return port_; }
  std::string host() const;  // "127.0.0.1:port"
  std::string url() const;   // "http://127.0.0.1:port"
  std::vector<ScriptedRequest> requests() const;
  int connections() const;
  // Returns once so many requests have come.
  void wait_for_requests(size_t count) const;

 private:
  void accept_connections();
  void serve(int socket, int connection);
  bool answer_one(int socket, int connection, std::string& received);

  const Script script_;
  UniqueFd listener_;
  int port_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool ending_ = false;
  std::vector<ScriptedRequest> requests_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace atl::storage
