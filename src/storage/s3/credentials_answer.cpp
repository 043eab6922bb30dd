#include "storage/s3/credentials_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "storage/s3/timestamps.h"

namespace atl::storage {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> strange(std::string_view source, std::string_view what) {
  return fail(ErrorCode::kIo, fmt::format("{}: {}", source, what));
}

bool is_visible(char c) { return c > ' ' && c < 0x7f; }

// "" where the member is not there or not a text.
std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

// A code as AWS has them, "ExpiredToken", "Sender.Fault": anything else is no code.
std::string as_code(std::string_view text) {
  constexpr size_t kMaxCodeBytes = 80;
  const bool plain = text.size() <= kMaxCodeBytes && std::ranges::all_of(text, [](char c) {
                       return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                              (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
                     });
  return plain ? std::string(text) : std::string{};
}

std::string as_message(std::string_view text, std::initializer_list<std::string_view> secrets) {
  constexpr size_t kMaxMessageBytes = 300;
  for (const std::string_view secret : secrets) {
    if (!secret.empty() && text.find(secret) != std::string_view::npos) return {};
  }
  std::string message(text.substr(0, kMaxMessageBytes));
  for (char& c : message) {
    if (c != ' ' && !is_visible(c)) c = '?';
  }
  return message;
}

// An empty answer would be a document without an error to pugixml, too.
bool load_xml(pugi::xml_document& document, std::string_view xml) {
  return xml.size() <= kMaxCredentialsAnswerBytes &&
         document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
}

Result<Credentials> finish(Credentials credentials,
                           std::string_view expiration,
                           std::string_view source) {
  if (!expiration.empty()) {
    credentials.expires = parse_rfc3339(expiration);
    if (!credentials.expires) return strange(source, "the answer's Expiration is no time");
  }
  ATOLL_TRY(check_credentials(credentials, source));
  return credentials;
}

}  // namespace

Result<void> check_credentials(const Credentials& credentials, std::string_view source) {
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::kInvalidInput, fmt::format("{}: {}", source, what));
  };
  const auto plain = [](std::string_view text) { return std::ranges::all_of(text, is_visible); };
  if (credentials.access_key_id.empty()) return refuse("there is no access key id");
  if (credentials.secret_access_key.empty()) return refuse("there is no secret access key");
  if (!plain(credentials.access_key_id)) {
    return refuse("the access key id holds white space or bytes that no key has");
  }
  if (!plain(credentials.secret_access_key)) {
    return refuse("the secret access key holds white space or bytes that no key has");
  }
  if (!plain(credentials.session_token)) {
    return refuse("the session token holds white space or bytes that no token has");
  }
  return {};
}

Result<Credentials> parse_credentials_json(std::string_view text,
                                           CredentialsJson kind,
                                           std::string_view source) {
  if (text.size() > kMaxCredentialsAnswerBytes) return strange(source, "the answer is too long");
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return strange(source, "the answer is no JSON object");
  if (kind == CredentialsJson::kProcess) {
    if (const auto version = json.find("Version"); version == json.end() || *version != 1) {
      return strange(source, "the answer's Version is not 1");
    }
  } else if (const std::string code = text_of(json, "Code");
             json.contains("Code") && code != "Success") {
    return fail(ErrorCode::kPermission,
                fmt::format("{}: the endpoint gives no credentials: {}", source, as_code(code)));
  }
  Credentials credentials{
      .access_key_id = text_of(json, "AccessKeyId"),
      .secret_access_key = text_of(json, "SecretAccessKey"),
      .session_token = text_of(json, kind == CredentialsJson::kProcess ? "SessionToken" : "Token"),
      .expires = {}};
  const std::string expiration = text_of(json, "Expiration");
  if (kind == CredentialsJson::kEndpoint && expiration.empty()) {
    return strange(source, "the answer has no Expiration");
  }
  return finish(std::move(credentials), expiration, source);
}

Result<Credentials> parse_sts_answer(std::string_view xml,
                                     std::string_view action,
                                     std::string_view source) {
  pugi::xml_document document;
  if (!load_xml(document, xml)) return strange(source, "the answer is no XML");
  const pugi::xml_node found = document.child(fmt::format("{}Response", action).c_str())
                                   .child(fmt::format("{}Result", action).c_str())
                                   .child("Credentials");
  if (!found) return strange(source, fmt::format("the answer is not {}'s", action));
  const std::string expiration = found.child_value("Expiration");
  if (expiration.empty()) return strange(source, "the answer has no Expiration");
  return finish({.access_key_id = found.child_value("AccessKeyId"),
                 .secret_access_key = found.child_value("SecretAccessKey"),
                 .session_token = found.child_value("SessionToken"),
                 .expires = {}},
                expiration,
                source);
}

ServiceError parse_service_error(std::string_view body,
                                 std::initializer_list<std::string_view> secrets) {
  ServiceError error;
  if (body.size() > kMaxCredentialsAnswerBytes) return error;
  std::string code, message;
  pugi::xml_document document;
  if (const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false); json.is_object()) {
    code = text_of(json, json.contains("code") ? "code" : "Code");
    message = text_of(json, json.contains("message") ? "message" : "Message");
  } else if (load_xml(document, body)) {
    const pugi::xml_node found = document.child("ErrorResponse").child("Error");
    code = found.child_value("Code");
    message = found.child_value("Message");
  }
  error.code = as_code(code);
  // This one shows what was signed, the session token in it.
  if (error.code != "SignatureDoesNotMatch") error.message = as_message(message, secrets);
  return error;
}

}  // namespace atl::storage
