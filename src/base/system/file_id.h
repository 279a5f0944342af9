#pragma once

#include <string>
#include <sys/types.h>

namespace millrace {

// Which file a path leads to, links not followed: the same path may lead to another later.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;  // 0: no file

  bool operator==(const FileId&) const = default;
};
FileId file_id(const std::string& path);

// Only if it is still that file.
void remove_file(const std::string& path, FileId id);

}  // namespace millrace
