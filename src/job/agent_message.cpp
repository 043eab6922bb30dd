#include "job/agent_message.h"

#include <algorithm>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>

#include "job/address.h"
#include "job/place.h"

namespace atl::job {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxTextBytes = 2000;
constexpr size_t kMaxNameBytes = 256;
constexpr int64_t kMost = int64_t{1} << 53;  // what every reader of JSON keeps exactly
constexpr int kMostRanks = std::numeric_limits<int>::max();
constexpr int kMostCode = 255;
constexpr int kMostSignal = 64;

// A text of ours, bounded, with nothing in it but what can be read. Cut between characters of UTF-8.
std::string plain(std::string_view text, size_t most = kMaxTextBytes) {
  if (text.size() > most) {
    size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
    text = text.substr(0, end);
  }
  std::string result(text);
  std::ranges::replace_if(
      result, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return result;
}

// --- Writing ---

Json to_json(const JobHistory& history) {
  return {{"round", history.round}, {"failures", history.failures}, {"begun", history.begun_at}};
}
Json to_json(const JoinMessage& m) {
  return {{"say", "join"},
          {"token", plain(m.token, kMaxNameBytes)},
          {"agent", plain(m.agent, kMaxNameBytes)},
          {"host", plain(m.host, kMaxNameBytes)},
          {"node", m.node},
          {"ranks", m.ranks},
          {"port", m.port},
          {"history", to_json(m.history)}};
}
Json to_json(const AliveMessage& m) { return {{"say", "alive"}, {"number", m.number}}; }
Json to_json(const StepMessage& m) {
  return {{"say", "step"}, {"round", m.round}, {"step", m.step}};
}
Json to_json(const EndedMessage& m) {
  return {{"say", "ended"},
          {"round", m.round},
          {"code", m.ending.code},
          {"signal", m.ending.by_signal},
          {"ordered", m.ending.ordered},
          {"why", plain(m.ending.why)},
          {"port", m.port}};
}
Json to_json(const StopMessage& m) { return {{"say", "stop"}, {"signal", m.signal}}; }
Json to_json(const BeginMessage& m) {
  return {{"say", "begin"},
          {"history", to_json(m.history)},
          {"node", m.node},
          {"nodes", m.nodes},
          {"rank", m.rank},
          {"size", m.size},
          {"master", plain(m.master_host, kMaxNameBytes)},
          {"port", m.master_port},
          {"line", plain(m.line)}};
}
Json to_json(const EndMessage& m) {
  return {{"say", "end"},
          {"round", m.round},
          {"signal", m.signal},
          {"stops", m.stops},
          {"why", plain(m.why)}};
}
Json to_json(const OverMessage& m) {
  return {{"say", "over"}, {"code", m.code}, {"why", plain(m.why)}};
}

// --- Reading ---

// Looks up members of an object; what is missing or out of bounds is remembered.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  template <std::integral T>
  T number(const char* name, int64_t least, int64_t most) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_number_integer()) return wrong<T>();
    // A number beyond int64_t is unsigned there.
    if (found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(kMost)) {
      return wrong<T>();
    }
    const auto value = found->get<int64_t>();
    if (value < least || value > most) return wrong<T>();
    return static_cast<T>(value);
  }
  bool truth(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_boolean()) return wrong<bool>();
    return found->get<bool>();
  }
  std::string text(const char* name, size_t most = kMaxTextBytes) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_string()) return wrong<std::string>();
    return plain(found->get_ref<const std::string&>(), most);
  }
  JobHistory history() {
    const auto found = json_.find("history");
    if (found == json_.end() || !found->is_object()) return wrong<JobHistory>();
    Reader inner(*found);
    JobHistory history;
    history.round = inner.number<uint64_t>("round", 0, kMost);
    history.failures = inner.number<int>("failures", 0, kMostRanks);
    history.begun_at = inner.number<int64_t>("begun", -1, kMost);
    good_ = good_ && inner.good_;
    return history;
  }
  uint16_t port() { return number<uint16_t>("port", 1, UINT16_MAX); }
  bool good() const { return good_; }

 private:
  template <typename T>
  T wrong() {
    good_ = false;
    return T();
  }

  const Json& json_;
  bool good_ = true;
};

JoinMessage read_join(Reader& in) {
  JoinMessage m;
  m.token = in.text("token", kMaxNameBytes);
  m.agent = in.text("agent", kMaxNameBytes);
  m.host = in.text("host", kMaxNameBytes);
  m.node = in.number<int>("node", -1, kMaxNodes - 1);
  m.ranks = in.number<int>("ranks", 1, kMaxLocalSize);
  m.port = in.port();
  m.history = in.history();
  return m;
}

EndedMessage read_ended(Reader& in) {
  EndedMessage m;
  m.round = in.number<uint64_t>("round", 0, kMost);
  m.ending.code = in.number<int>("code", 0, kMostCode);
  m.ending.by_signal = in.truth("signal");
  m.ending.ordered = in.truth("ordered");
  m.ending.why = in.text("why");
  m.port = in.port();
  return m;
}

BeginMessage read_begin(Reader& in) {
  BeginMessage m;
  m.history = in.history();
  m.nodes = in.number<int>("nodes", 1, kMaxNodes);
  m.node = in.number<int>("node", 0, m.nodes - 1);
  m.size = in.number<int>("size", 1, kMostRanks);
  m.rank = in.number<int>("rank", 0, m.size - 1);
  m.master_host = in.text("master", kMaxNameBytes);
  m.master_port = in.port();
  m.line = in.text("line");
  return m;
}

AgentMessage read_message(const std::string& kind, Reader& in, bool& known) {
  known = true;
  if (kind == "join") return read_join(in);
  if (kind == "alive") return AliveMessage{in.number<uint64_t>("number", 0, kMost)};
  if (kind == "step") {
    StepMessage m;
    m.round = in.number<uint64_t>("round", 0, kMost);
    m.step = in.number<int64_t>("step", 0, kMost);
    return m;
  }
  if (kind == "ended") return read_ended(in);
  if (kind == "stop") return StopMessage{in.number<int>("signal", 1, kMostSignal)};
  if (kind == "begin") return read_begin(in);
  if (kind == "end") {
    EndMessage m;
    m.round = in.number<uint64_t>("round", 0, kMost);
    m.signal = in.number<int>("signal", 1, kMostSignal);
    m.stops = in.truth("stops");
    m.why = in.text("why");
    return m;
  }
  if (kind == "over") {
    OverMessage m;
    m.code = in.number<int>("code", 0, kMostCode);
    m.why = in.text("why");
    return m;
  }
  known = false;
  return AliveMessage{};
}

}  // namespace

std::string to_line(const AgentMessage& message) {
  const Json json = std::visit([](const auto& m) { return to_json(m); }, message);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<AgentMessage> parse_message(std::string_view line) {
  constexpr const char* kHint = "see that the same version of atoll runs on all hosts";
  const auto no_message = [&](const char* what) {
    return fail(ErrorCode::kInvalidInput, what, kHint);
  };
  if (line.size() > kMaxMessageBytes) return no_message("a message that is too long");
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return no_message("what came is no message");
  const auto kind = json.find("say");
  if (kind == json.end() || !kind->is_string()) return no_message("a message without a kind");
  Reader reader(json);
  bool known = false;
  AgentMessage message = read_message(kind->get<std::string>(), reader, known);
  if (!known) return no_message("a message of an unknown kind");
  if (!reader.good()) return no_message("a message with a part that is missing or out of bounds");
  if (const auto* begin = std::get_if<BeginMessage>(&message);
      begin != nullptr && !begin->master_host.empty() && !is_host(begin->master_host)) {
    return no_message("a message with an address that is none");
  }
  return message;
}

}  // namespace atl::job
