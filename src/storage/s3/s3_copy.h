// Copies inside the server: CopyObject, and UploadPartCopy for what is longer than that takes.
#pragma once

#include <string>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/s3/s3_client.h"
#include "storage/s3/s3_upload.h"

namespace atl::storage {

// Keys are whole. The content's type goes along, the metadata is replaced. `sent_again`: as in Remote::copy.
Result<ObjectInfo> copy_object(S3Client& client,
                               const S3TransferOptions& transfer,
                               const std::string& from,
                               const std::string& to,
                               const Metadata& metadata,
                               const std::string& if_match,
                               bool* sent_again);

}  // namespace atl::storage
