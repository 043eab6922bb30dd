// atoll fs: a bucket as a file system. Each of its commands has a file of its own.
#include "cli/command.h"

namespace atl::cli {
namespace {

constexpr const char* kFooter =
    "TARGET is a path in a mounted bucket, or s3://BUCKET/PREFIX, mounted or not. For those who "
    "know FSx\n"
    "for Lustre: lfs hsm_restore is preload, hsm_release release, hsm_archive export, hsm_state "
    "status.\n"
    "\n"
    "Examples:\n"
    "  atoll fs mount s3://bucket/coco /mnt/coco\n"
    "  atoll fs preload /mnt/coco --glob 'train2017/*.jpg'\n"
    "  atoll fs status /mnt/coco --total\n"
    "  atoll fs umount /mnt/coco";

}  // namespace

void add_fs(CLI::App& app, CommandContext& context) {
  CLI::App* fs = app.add_subcommand("fs", "Mount a bucket as a file system, and look after it");
  fs->require_subcommand(1);
  fs->footer(kFooter);
  add_fs_mount(*fs, context);
  add_fs_umount(*fs, context);
  add_fs_ls(*fs, context);
  add_fs_cat(*fs, context);
  add_fs_import(*fs, context);
  add_fs_export(*fs, context);
  add_fs_preload(*fs, context);
  add_fs_release(*fs, context);
  add_fs_status(*fs, context);
}

}  // namespace atl::cli
