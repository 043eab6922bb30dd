// S3's answers come from whoever answers at the endpoint. Whatever the bytes: a value or an error; a page that
// is accepted has what it must have, and its keys survive being written into a request.
#include <cstdint>
#include <cstdlib>
#include <pugixml.hpp>
#include <string_view>

#include "storage/s3/s3_xml.h"

namespace {

void check_page(const atl::storage::ListPage& page) {
  for (const auto& object : page.objects) {
    if (object.key.empty() || !object.etag.ends_with('"')) std::abort();
    if (!atl::storage::fits_into_xml(object.key)) continue;
    const std::string body = atl::storage::delete_body({&object.key, 1});
    pugi::xml_document document;
    // Text of blanks alone is kept, as our own parser does.
    if (!document.load_string(body.c_str(), pugi::parse_escapes | pugi::parse_ws_pcdata_single))
      std::abort();
    const std::string_view key = document.child("Delete").child("Object").child("Key").text().get();
    if (key != object.key) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto page = atl::storage::parse_list_page(text)) check_page(*page);
  if (const auto id = atl::storage::parse_upload_id(text); id && id->empty()) std::abort();
  (void)atl::storage::parse_new_object(text);
  (void)atl::storage::parse_delete_failures(text);
  (void)atl::storage::parse_error_body(text);
  return 0;
}
