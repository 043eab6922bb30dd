// Where the dataset lies among the channels of a job, as keys of the configuration.
//
//   one channel (training, train, data, …)   a dataset as anywhere else: COCO's layout, or TFRecords; also one folder below
//   train and validation                      a folder of pictures with its JSON, or TFRecords, each
//   … and annotations                         the JSON of both
//   patterns of the lab                       TFRecords, wherever they are
//
// Channels called weights, model, pretrained, checkpoint or config hold other things.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sagemaker/contract.h"
#include "sagemaker/settings.h"

namespace atl::sagemaker {

// A channel as a folder: where SageMaker has put it, or where its pipe was read to.
struct ChannelFolder {
  Channel channel;
  std::string folder;
};

struct DataPlace {
  std::string path;  // data.path
  // data.train_annotations …; "" = found by itself.
  std::string train_annotations;
  std::string train_images;
  std::string val_annotations;
  std::string val_images;
  std::string
      description;  // for people: "channel train: COCO's layout in /opt/ml/input/data/train"
};

// `settings` have data or patterns where those decide. kInvalidInput or the store's error: the channel, its folder, what
// is wrong and what to do. kUnsupported: a channel of which every host has a part only.
Result<DataPlace> find_data(const Settings& settings,
                            const std::vector<ChannelFolder>& channels,
                            const Paths& paths,
                            int hosts);

// Whether a channel of this name is taken for a dataset, or a part of one.
bool holds_data(std::string_view channel_name);

const char* name_of(InputMode mode);
// "channel train (/opt/ml/input/data/train, FastFile)", for messages.
std::string shown(const ChannelFolder& channel);

}  // namespace atl::sagemaker
