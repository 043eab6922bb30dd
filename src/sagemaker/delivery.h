// What SageMaker archives at the end, copied out of the run: the model and the configuration that it was made with to
// model/, everything else that a person wants to see to output/data. Checkpoints stay where they are.
#pragma once

#include "base/error.h"
#include "storage/storage.h"

namespace atl::sagemaker {

struct Delivered {
  bool model = false;  // there was one
  size_t files = 0;
};

// A file that the run does not have is none of the delivery's business. Errors: the store's, with a hint.
Result<Delivered> deliver(storage::ObjectStore& run,
                          storage::ObjectStore& model,
                          storage::ObjectStore& output_data);

}  // namespace atl::sagemaker
