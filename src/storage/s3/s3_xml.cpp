#include "storage/s3/s3_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <pugixml.hpp>

#include "base/utf8.h"

namespace atl::storage {

namespace {

// The root element, whatever its name space.
Result<pugi::xml_node> parse(pugi::xml_document& document, std::string_view xml) {
  // Keys keep their spaces, and line ends in them are not changed.
  constexpr unsigned kOptions =
      pugi::parse_escapes | pugi::parse_cdata | pugi::parse_ws_pcdata_single;
  const auto result = document.load_buffer(xml.data(), xml.size(), kOptions, pugi::encoding_utf8);
  if (!result) {
    return fail(
        ErrorCode::kIo,
        fmt::format("the answer is no XML: {} at byte {}", result.description(), result.offset));
  }
  return document.document_element();
}

Result<pugi::xml_node> parse(pugi::xml_document& document,
                             std::string_view xml,
                             std::initializer_list<std::string_view> names) {
  const pugi::xml_node root = ATOLL_TRY(parse(document, xml));
  if (std::find(names.begin(), names.end(), std::string_view(root.name())) == names.end()) {
    return fail(ErrorCode::kIo,
                fmt::format("the answer is a <{:.40}> and no <{}>", root.name(), *names.begin()));
  }
  return root;
}

std::string text(const pugi::xml_node& parent, const char* name) {
  return parent.child(name).text().get();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// As encoding-type=url has it: %XX, and '+' for a space.
Result<std::string> decode_key(std::string_view encoded) {
  std::string key;
  key.reserve(encoded.size());
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] == '+') {
      key += ' ';
    } else if (encoded[i] != '%') {
      key += encoded[i];
    } else {
      const int high = i + 2 < encoded.size() ? hex_digit(encoded[i + 1]) : -1;
      const int low = high >= 0 ? hex_digit(encoded[i + 2]) : -1;
      if (low < 0) {
        return fail(ErrorCode::kIo, fmt::format("the key '{:.100}' is badly encoded", encoded));
      }
      key += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return key;
}

Result<ObjectInfo> parse_object(const pugi::xml_node& contents, bool is_encoded) {
  ObjectInfo info;
  info.key = text(contents, "Key");
  if (is_encoded) info.key = ATOLL_TRY(decode_key(info.key));
  const auto size = parse_size(text(contents, "Size"));
  const auto modified = parse_iso_date(text(contents, "LastModified"));
  info.etag = quoted_etag(text(contents, "ETag"));
  if (info.key.empty() || !size || !modified || info.etag.empty()) {
    return fail(ErrorCode::kIo,
                fmt::format("the listing's entry for '{:.100}' lacks its key, size, date or ETag",
                            info.key));
  }
  info.size_bytes = *size;
  info.modified = *modified;
  return info;
}

// "" for the plain character, which stands for itself.
std::string_view escape(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\r':
      return "&#13;";
    case '\n':
      return "&#10;";
    case '\t':
      return "&#9;";
    default:
      return {};
  }
}

std::string escaped(std::string_view text) {
  std::string xml;
  xml.reserve(text.size());
  for (const char c : text) {
    const std::string_view entity = escape(c);
    if (entity.empty()) {
      xml += c;
    } else {
      xml += entity;
    }
  }
  return xml;
}

// The length of the character at the start, 0 if there is none that XML 1.0 takes.
size_t xml_character(std::string_view text) {
  const auto [bytes, code] = first_character(text);
  const bool is_control = code < 0x20 && code != '\t' && code != '\n' && code != '\r';
  return is_control || code == 0xfffe || code == 0xffff ? 0 : bytes;
}

}  // namespace

S3ErrorBody parse_error_body(std::string_view xml) {
  pugi::xml_document document;
  const auto root = parse(document, xml, {"Error"});
  if (!root) return {};
  return {
      text(*root, "Code"), text(*root, "Message"), text(*root, "Region"), text(*root, "Endpoint")};
}

Result<ListPage> parse_list_page(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = ATOLL_TRY(parse(document, xml, {"ListBucketResult"}));
  const bool is_encoded = text(root, "EncodingType") == "url";
  ListPage page;
  for (const pugi::xml_node& contents : root.children("Contents")) {
    page.objects.push_back(ATOLL_TRY(parse_object(contents, is_encoded)));
  }
  const std::string truncated = text(root, "IsTruncated");
  if (truncated != "true" && truncated != "false") {
    return fail(ErrorCode::kIo, "the listing does not say whether it goes on");
  }
  if (truncated == "true") {
    page.next = text(root, "NextContinuationToken");
    if (page.next.empty())
      return fail(ErrorCode::kIo, "the listing goes on, but does not say where");
  }
  return page;
}

Result<std::string> parse_upload_id(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = ATOLL_TRY(parse(document, xml, {"InitiateMultipartUploadResult"}));
  std::string id = text(root, "UploadId");
  if (id.empty()) return fail(ErrorCode::kIo, "the answer has no UploadId");
  return id;
}

Result<NewObjectBody> parse_new_object(std::string_view xml) {
  pugi::xml_document document;
  // moto calls the first one CompleteMultipartUploadResponse.
  const pugi::xml_node root = ATOLL_TRY(parse(document,
                                              xml,
                                              {"CompleteMultipartUploadResult",
                                               "CompleteMultipartUploadResponse",
                                               "CopyObjectResult",
                                               "CopyPartResult"}));
  return NewObjectBody{quoted_etag(text(root, "ETag")), parse_iso_date(text(root, "LastModified"))};
}

Result<std::vector<DeleteFailure>> parse_delete_failures(std::string_view xml) {
  pugi::xml_document document;
  // radosgw writes DeleteResult, too, but some servers of its age DeleteObjectsResult.
  const pugi::xml_node root =
      ATOLL_TRY(parse(document, xml, {"DeleteResult", "DeleteObjectsResult"}));
  std::vector<DeleteFailure> failures;
  for (const pugi::xml_node& error : root.children("Error")) {
    failures.push_back({text(error, "Key"), text(error, "Code"), text(error, "Message")});
  }
  return failures;
}

std::string complete_upload_body(std::span<const UploadedPart> parts) {
  std::string xml = R"(<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">)";
  for (const UploadedPart& part : parts) {
    xml += fmt::format(
        "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag>", part.number, escaped(part.etag));
    if (!part.checksum.empty()) {
      xml += fmt::format("<ChecksumCRC32C>{}</ChecksumCRC32C>", escaped(part.checksum));
    }
    xml += "</Part>";
  }
  return xml + "</CompleteMultipartUpload>";
}

bool fits_into_xml(std::string_view key) {
  while (!key.empty()) {
    const size_t size = xml_character(key);
    if (size == 0) return false;
    key.remove_prefix(size);
  }
  return true;
}

std::string delete_body(std::span<const std::string> keys) {
  std::string xml =
      R"(<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>)";
  for (const std::string& key : keys) {
    xml += fmt::format("<Object><Key>{}</Key></Object>", escaped(key));
  }
  return xml + "</Delete>";
}

}  // namespace atl::storage
