#include "storage/s3/aws_profiles.h"

#include <fmt/format.h>

#include "storage/s3/small_file.h"

namespace atl::storage {
namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(kBlanks);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlanks) - from + 1);
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool is_blank(char c) { return kBlanks.find(c) != std::string_view::npos; }

// A '#' or ';' begins a comment where white space stands before it.
std::string_view without_comment(std::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if ((text[i] == '#' || text[i] == ';') && is_blank(text[i - 1])) return text.substr(0, i);
  }
  return text;
}

// "a b" and 'a b' without their quotes; nullopt where a quote is left open or a bare name has blanks.
std::optional<std::string_view> unquoted(std::string_view name) {
  name = trimmed(name);
  if (name.empty()) return std::nullopt;
  if (name.front() == '"' || name.front() == '\'') {
    if (name.size() < 3 || name.back() != name.front()) return std::nullopt;
    return name.substr(1, name.size() - 2);
  }
  if (name.find_first_of(kBlanks) != std::string_view::npos) return std::nullopt;
  return name;
}

class ProfileParser {
 public:
  ProfileParser(ProfileFile kind, std::string_view name) : kind_(kind), name_(name) {}

  Result<void> add_line(std::string_view line) {
    ++line_;
    const std::string_view text = trimmed(line);
    if (text.empty() || text.front() == '#' || text.front() == ';') return {};
    if (is_blank(line.front())) return continue_property(text);
    property_ = nullptr;
    return text.front() == '[' ? open_section(text) : set_property(text);
  }

  AwsProfiles take() {
    // [profile default] counts before [default].
    if (!named_default_.empty()) parsed_.profiles["default"] = std::move(named_default_);
    return std::move(parsed_);
  }

 private:
  tl::unexpected<Error> refuse(std::string_view what) const {
    return fail(ErrorCode::kInvalidInput, fmt::format("{}:{}: {}", name_, line_, what));
  }

  Result<void> open_section(std::string_view line) {
    const std::string_view text = trimmed(without_comment(line));
    const size_t end = text.find(']');
    if (end == std::string_view::npos || end + 1 != text.size()) {
      return refuse("a section is written [NAME], with nothing behind it");
    }
    section_ = section_of(trimmed(text.substr(1, end - 1)));
    in_section_ = true;
    return {};
  }

  // Where the properties that follow belong; null for sections that do not concern us.
  ProfileProperties* section_of(std::string_view title) {
    if (kind_ == ProfileFile::kCredentials) {
      return title.empty() ? nullptr : &parsed_.profiles[std::string(title)];
    }
    if (title == "default") return &parsed_.profiles["default"];
    const size_t blank = title.find_first_of(kBlanks);
    if (blank == std::string_view::npos) return nullptr;
    const auto name = unquoted(title.substr(blank));
    if (!name) return nullptr;
    const std::string_view type = title.substr(0, blank);
    if (type == "services") return &parsed_.services[std::string(*name)];
    if (type != "profile") return nullptr;
    return *name == "default" ? &named_default_ : &parsed_.profiles[std::string(*name)];
  }

  Result<void> set_property(std::string_view line) {
    if (!in_section_) return refuse("a setting before the first [SECTION]");
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) return refuse("neither [SECTION] nor NAME = VALUE");
    property_name_ = lower_case(trimmed(line.substr(0, equals)));
    if (property_name_.empty()) return refuse("there is no name before the '='");
    if (section_ == nullptr) return {};
    property_ = &(*section_)[property_name_];
    // One blank in front, so that a value may be a comment alone.
    *property_ = trimmed(without_comment(fmt::format(" {}", line.substr(equals + 1))));
    has_children_ = property_->empty();
    return {};
  }

  Result<void> continue_property(std::string_view text) {
    if (!in_section_) return refuse("an indented line before the first [SECTION]");
    if (section_ == nullptr) return {};
    if (property_ == nullptr) return refuse("an indented line that belongs to no setting");
    if (!has_children_) {
      property_->append("\n").append(text);
      return {};
    }
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) return refuse("an indented line without '='");
    const std::string child = lower_case(trimmed(text.substr(0, equals)));
    if (child.empty()) return refuse("there is no name before the '='");
    (*section_)[property_name_ + "." + child] =
        trimmed(without_comment(fmt::format(" {}", text.substr(equals + 1))));
    return {};
  }

  ProfileFile kind_;
  std::string_view name_;
  int line_ = 0;
  AwsProfiles parsed_;
  ProfileProperties named_default_;
  bool in_section_ = false;
  ProfileProperties* section_ = nullptr;
  std::string property_name_;
  std::string* property_ = nullptr;  // the last one, which an indented line goes on with
  bool has_children_ = false;
};

// The file of one kind, or nothing where it is not there.
Result<AwsProfiles> load_file(const EnvironmentVariable& variable,
                              ProfileFile kind,
                              std::string_view variable_name,
                              std::string_view in_home) {
  std::string path = set_variable(variable, variable_name).value_or(fmt::format("~/{}", in_home));
  if (path.starts_with("~/")) {
    const auto home = set_variable(variable, "HOME");
    if (!home) return AwsProfiles{};
    path.replace(0, 1, *home);
  }
  Result<std::string> text = read_small_file(path);
  if (!text && text.error().code == ErrorCode::kNotFound) return AwsProfiles{};
  if (!text) return tl::unexpected(std::move(text).error().with_context("AWS profiles"));
  return parse_profiles(*text, kind, path);
}

// A profile's keys are one thing: those of one file are not completed by the other's.
constexpr auto kKeys = std::to_array<std::string_view>(
    {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"});

void merge_credentials(AwsProfiles& profiles, const AwsProfiles& credentials) {
  for (const auto& [name, properties] : credentials.profiles) {
    ProfileProperties& merged = profiles.profiles[name];
    if (properties.contains(kKeys[0])) {
      for (const std::string_view key : kKeys) {
        if (const auto found = merged.find(key); found != merged.end()) merged.erase(found);
      }
    }
    for (const auto& [property, value] : properties) merged[property] = value;
  }
}

}  // namespace

std::optional<std::string> set_variable(const EnvironmentVariable& variable,
                                        std::string_view name) {
  std::optional<std::string> value = variable(name);
  if (value && value->empty()) return std::nullopt;
  return value;
}

std::string_view AwsProfiles::value(std::string_view profile, std::string_view property) const {
  const auto properties = profiles.find(profile);
  if (properties == profiles.end()) return {};
  const auto found = properties->second.find(property);
  return found == properties->second.end() ? std::string_view{} : found->second;
}

Result<AwsProfiles> parse_profiles(std::string_view text, ProfileFile kind, std::string_view name) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  ProfileParser parser(kind, name);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    ATOLL_TRY(parser.add_line(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parser.take();
}

Result<AwsProfiles> load_profiles(const EnvironmentVariable& variable) {
  AwsProfiles profiles =
      ATOLL_TRY(load_file(variable, ProfileFile::kConfig, "AWS_CONFIG_FILE", ".aws/config"));
  merge_credentials(
      profiles,
      ATOLL_TRY(load_file(
          variable, ProfileFile::kCredentials, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")));
  return profiles;
}

Result<std::string> choose_profile(const AwsProfiles& profiles,
                                   const EnvironmentVariable& variable,
                                   std::string_view wanted) {
  std::string name(wanted);
  if (name.empty()) name = set_variable(variable, "AWS_PROFILE").value_or("");
  if (name.empty()) name = set_variable(variable, "AWS_DEFAULT_PROFILE").value_or("");
  if (name.empty() || name == "default") return "default";
  if (!profiles.has(name)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("there is no AWS profile '{}'", name),
                "look at ~/.aws/config and ~/.aws/credentials, or where AWS_CONFIG_FILE and "
                "AWS_SHARED_CREDENTIALS_FILE point");
  }
  return name;
}

}  // namespace atl::storage
