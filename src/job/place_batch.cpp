// A multi-node parallel job of AWS Batch: one process for each node. Source: "Environment variables" of multi-node
// parallel jobs in the user guide. The main node, which need not be node 0, is told no address: it is its own.
#include "job/address.h"
#include "job/place_sources.h"

namespace atl::job {
namespace {

constexpr std::string_view kSource = "AWS Batch";
constexpr std::string_view kIndex = "AWS_BATCH_JOB_NODE_INDEX";
constexpr std::string_view kNodes = "AWS_BATCH_JOB_NUM_NODES";
constexpr std::string_view kMain = "AWS_BATCH_JOB_MAIN_NODE_INDEX";
constexpr std::string_view kMainAddress = "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS";

}  // namespace

Found from_aws_batch(const Clues& clues) {
  const Variables& variables = clues.variables;
  if (!variables.has(kIndex) && !variables.has(kNodes)) return std::nullopt;
  Place place = clues.place(std::string(kSource));
  place.nodes = ATOLL_TRY(variables.number(kSource, kNodes, 1, kMaxNodes));
  const int index = ATOLL_TRY(variables.number(kSource, kIndex, 0, place.nodes - 1));
  const int main = ATOLL_TRY(variables.number(kSource, kMain, 0, place.nodes - 1));
  // Rank 0 must be where the others look for it.
  place.node = (index - main + place.nodes) % place.nodes;
  if (place.node != 0) place.master_host = ATOLL_TRY(variables.host(kSource, kMainAddress));
  place.local_size = clues.usual_local_size();
  place.local_rank = std::nullopt;
  // "ID#NODE" on the nodes of a job.
  const std::string job = variables.text("AWS_BATCH_JOB_ID");
  if (!job.empty()) place.master_port = port_of_job(job.substr(0, job.find('#')));
  return place;
}

}  // namespace atl::job
