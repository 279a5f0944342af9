#include "base/system/file_id.h"

#include <sys/stat.h>
#include <unistd.h>

namespace millrace {

FileId file_id(const std::string& path) {
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino};
}

void remove_file(const std::string& path, FileId id) {
  if (id != FileId() && file_id(path) == id) unlink(path.c_str());
}

}  // namespace millrace
