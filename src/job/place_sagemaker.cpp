// A SageMaker training job: one process for each host, whose hosts stand in a file. The toolkit's SM_* variables are
// not needed.
#include <fmt/format.h>

#include "job/address.h"
#include "job/place_sources.h"
#include "job/resource_config.h"

namespace atl::job {
namespace {

constexpr std::string_view kFile = "/input/config/resourceconfig.json";

}  // namespace

Found from_sagemaker(const Clues& clues) {
  const std::string given = clues.variables.text(kSageMakerRootVariable);
  const std::string file = fmt::format("{}{}", given.empty() ? kSageMakerRoot : given, kFile);
  const auto text = clues.sources.read_file(file);
  if (!text && text.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!text) return tl::unexpected(text.error());
  const ResourceConfig config = ATOLL_TRY_CONTEXT(parse_resource_config(*text), file);
  if (parse_number(clues.variables.text("OMPI_COMM_WORLD_SIZE"), 2, INT64_MAX)) {
    return refuse("mpirun has started this process within a SageMaker training job",
                  "let the job start \"atoll launch\" or \"atoll train\" itself on every host: the "
                  "ranks find one another without mpirun");
  }
  Place place = clues.place("SageMaker's resourceconfig.json");
  place.nodes = static_cast<int>(config.hosts.size());
  place.node = config.current;
  place.local_size = clues.usual_local_size();
  place.local_rank = std::nullopt;
  place.host = config.hosts[static_cast<size_t>(config.current)];
  place.hosts = config.hosts;
  if (place.nodes > 1) place.master_host = config.hosts.front();
  place.network_interface = config.network_interface;
  const std::string job = clues.variables.text("TRAINING_JOB_NAME");
  if (!job.empty()) place.master_port = port_of_job(job);
  return place;
}

}  // namespace atl::job
