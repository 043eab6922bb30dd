// The launchers that find_place() asks, one function each: nullopt where this process was not started by it.
//
// A function fills what its launcher says. For one process for each host it leaves local_rank empty and local_size as
// it is wanted, and find_place() counts the ranks; otherwise it fills rank, size, local_rank and local_size.
#pragma once

#include <optional>

#include "base/error.h"
#include "job/place.h"
#include "job/variables.h"

namespace atl::job {

struct Clues {
  Variables variables;
  const PlaceSources& sources;

  // Ranks of a host where the launcher starts one process for each host.
  int usual_local_size() const { return sources.accelerators > 0 ? sources.accelerators : 1; }
  // To be filled.
  Place place(std::string source) const {
    Place place;
    place.source = std::move(source);
    place.host = sources.host;
    return place;
  }
};

using Found = Result<std::optional<Place>>;

Found from_local_launcher(const Clues& clues);
Found from_sagemaker(const Clues& clues);
Found from_open_mpi(const Clues& clues);
Found from_slurm(const Clues& clues);
Found from_aws_batch(const Clues& clues);
Found from_kubeflow(const Clues& clues);
Found from_jobset(const Clues& clues);
Found from_torch_variables(const Clues& clues);
// One process in the allocation of a Slurm job, which srun has not started.
std::optional<Place> outside_of_srun(const Clues& clues);
// An error where a launcher that Atoll does not read has started several processes.
Result<void> refuse_unknown_launcher(const Clues& clues);

}  // namespace atl::job
