// job.toml: a training job, as `atoll job run` plays it on this machine and `atoll job submit` hands it to SageMaker.
//
//   name = "coco-r50"
//   image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:1"
//   role = "arn:aws:iam::123456789012:role/atoll-job"
//   [instances]
//   type = "ml.p4d.24xlarge"
//   count = 2
//   [channels.train]
//   uri = "s3://bucket/coco"
//   [output]
//   uri = "s3://bucket/jobs"
//
// docs/jobs.md has every key. Keys are read strictly here; whether their
// values are ones that SageMaker takes is validation.h's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::sagemaker {

// How a channel's data come to the training program.
enum class DataMode {
  kFile,      // copied before it starts
  kFastFile,  // a read-only mount, filled as it is read
  kPipe,      // a FIFO for each epoch
  // Atoll reads the bucket itself, through its cache: there is no channel, but the hyperparameter data.path.
  kInPlace,
};
std::string_view name_of(DataMode mode);  // as in job.toml and the API; "InPlace"

struct FileSystemSource {
  std::string id;         // "fs-0123456789abcdef0"
  bool is_lustre = true;  // else EFS
  std::string directory;  // "/MOUNTNAME/coco"
  std::string access = "ro";
};

struct JobChannel {
  std::string name;
  std::string uri;  // s3://BUCKET/PREFIX or a folder of this machine; "" with a file system
  std::optional<FileSystemSource> file_system;
  std::string local;  // what `atoll job run` takes instead: a folder or s3://…; "": nothing else
  DataMode mode = DataMode::kFile;
  bool sharded = false;  // every host gets a part of the objects
  std::string content_type;

  // What `atoll job run` reads; "" where there is nothing.
  const std::string& local_source() const { return local.empty() ? uri : local; }
};

struct JobFile {
  std::string file;  // for messages

  std::string name;
  std::string image;
  std::string role;
  std::string region;
  int64_t retries = 0;

  struct Instances {
    std::string type;
    int64_t count = 1;
    int64_t volume_gb = 30;
    int64_t keep_alive_s = 0;
  } instances;

  std::vector<JobChannel> channels;  // in the order of their names
  std::map<std::string, std::string> hyperparameters;

  struct Output {
    std::string uri;
    std::string kms_key;
    bool compressed = true;
  } output;

  struct Checkpoints {
    std::string uri;
    std::string path;  // "": /opt/ml/checkpoints
  } checkpoints;

  struct Stopping {
    int64_t max_runtime_s = 86400;  // SageMaker's own
    int64_t max_pending_s = 0;      // 0: not said
  } stopping;

  struct Spot {
    bool enabled = false;
    int64_t max_wait_s = 0;  // 0: as long as max_runtime_s
  } spot;

  std::map<std::string, std::string> environment;

  struct Vpc {
    std::vector<std::string> subnets;
    std::vector<std::string> security_groups;
    bool encrypt_traffic = false;
    bool isolate = false;
  } vpc;

  std::map<std::string, std::string> tags;

  struct Profiler {
    std::string uri;
    int64_t interval_ms = 0;  // 0: not said
    bool enabled = true;
  } profiler;
};

// `file` is its name, for messages. kInvalidInput: TOML errors with line and column; an unknown key with the nearest
// known one; a value of another type.
Result<JobFile> parse_job_file(std::string_view text, std::string_view file);

}  // namespace atl::sagemaker
