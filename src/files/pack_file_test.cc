#include "files/pack_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using Bytes = std::vector<std::byte>;

Bytes numbered(int64_t size) {
  Bytes bytes(static_cast<size_t>(size));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 31 >> 3 & 255);
  return bytes;
}

PackKey key_of(const Bytes& packed) {
  return {.head = 1,
          .model_bytes = 2,
          .stamp = {3, 4},
          .layout = 5,
          .packed_bytes = std::ssize(packed)};
}

absl::Status write_pack(const std::string& path, const PackKey& key, const Bytes& packed) {
  constexpr size_t kPiece = 3 * kPackChunkBytes;
  ASSIGN_OR_RETURN(PackWriter writer, PackWriter::create(path, key));
  for (size_t at = 0; at < packed.size(); at += kPiece) {
    RETURN_IF_ERROR(
        writer.add(std::span(packed).subspan(at, std::min(kPiece, packed.size() - at))));
  }
  return writer.finish();
}

class PackFileTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Bytes file() const {
    std::ifstream in(path_, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    Bytes bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
  }
  void set_file(const Bytes& bytes) const {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  int64_t files() const { return std::distance(std::filesystem::directory_iterator(folder_), {}); }
  // What opening and reading all of it comes to.
  absl::Status read_all(const PackKey& key, Bytes& out) const {
    ASSIGN_OR_RETURN(const PackFile pack, PackFile::open(path_, key));
    return pack.read(0, std::span(out).first(static_cast<size_t>(pack.bytes())));
  }
  std::string why(const PackKey& key) const {
    const absl::Status status = PackFile::open(path_, key).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    return std::string(message_of(status));
  }

  const std::string folder_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-pack-{}", ::getpid());
  const std::string path_ = folder_ + "/some.pack";
};

TEST_F(PackFileTest, GivesBackWhatWasWritten) {
  for (const int64_t size : {int64_t{0}, int64_t{1}, kPackChunkBytes, kPackChunkBytes + 64,
                             3 * kPackChunkBytes - 1, 9 * kPackChunkBytes}) {
    const Bytes packed = numbered(size);
    ASSERT_TRUE(write_pack(path_, key_of(packed), packed).ok());
    Bytes read(packed.size());
    EXPECT_TRUE(read_all(key_of(packed), read).ok()) << size;
    EXPECT_TRUE(read == packed) << size;
    EXPECT_EQ(files(), 1) << size;
  }
}

TEST_F(PackFileTest, PiecesOfItAreReadAndCheckedByThemselves) {
  const Bytes packed = numbered(5 * kPackChunkBytes + 100);
  ASSERT_TRUE(write_pack(path_, key_of(packed), packed).ok());
  Bytes damaged = file();
  damaged[damaged.size() - 2 * kPackChunkBytes] ^= std::byte{1};  // in chunk 3
  set_file(damaged);
  const PackFile pack = PackFile::open(path_, key_of(packed)).value();
  for (const auto& [begin, end] : {std::pair{0, 3}, {4, 5}, {5, 6}, {1, 5}}) {
    const auto first = static_cast<size_t>(begin * kPackChunkBytes);
    Bytes read(std::min(static_cast<size_t>(end * kPackChunkBytes), packed.size()) - first);
    const absl::Status status = pack.read(begin * kPackChunkBytes, read);
    if (begin == 1) {
      EXPECT_EQ(message_of(status), "bytes 196608 to 262144 of its weights are damaged");
    } else {
      EXPECT_EQ(status, absl::OkStatus()) << begin;
      EXPECT_TRUE(std::ranges::equal(read, std::span(packed).subspan(first, read.size())));
    }
  }
}

TEST_F(PackFileTest, OneThatIsNotFinishedLeavesTheOldOne) {
  const Bytes old = numbered(100);
  ASSERT_TRUE(write_pack(path_, key_of(old), old).ok());
  const Bytes packed = numbered(2 * kPackChunkBytes);
  {
    PackWriter writer = PackWriter::create(path_, key_of(packed)).value();
    ASSERT_TRUE(writer.add(std::span(packed).first(kPackChunkBytes)).ok());
    EXPECT_EQ(writer.bytes_added(), kPackChunkBytes);
  }
  EXPECT_EQ(files(), 1);
  Bytes read(old.size());
  EXPECT_TRUE(read_all(key_of(old), read).ok());
}

TEST_F(PackFileTest, IsMissingBeforeItIsWritten) {
  EXPECT_TRUE(absl::IsNotFound(PackFile::open(path_, {}).status()));
}

TEST_F(PackFileTest, AnyOtherKeyIsRefused) {
  const Bytes packed = numbered(100);
  const PackKey key = key_of(packed);
  ASSERT_TRUE(write_pack(path_, key, packed).ok());
  const struct {
    std::function<void(PackKey&)> change;
    std::string_view words;
  } cases[] = {
      {[](PackKey& k) { ++k.head; }, "the model file is another one"},
      {[](PackKey& k) { ++k.model_bytes; }, "the model file is another one"},
      {[](PackKey& k) { ++k.stamp.modified_ns; }, "has changed since"},
      {[](PackKey& k) { ++k.stamp.changed_ns; }, "has changed since"},
      {[](PackKey& k) { ++k.layout; }, "packed in another way"},
      {[](PackKey& k) { ++k.packed_bytes; }, "the model file is another one"},
  };
  for (const auto& c : cases) {
    PackKey other = key;
    c.change(other);
    EXPECT_THAT(why(other), testing::HasSubstr(std::string(c.words)));
  }
}

// Whatever single byte is wrong, and wherever the file ends: never a crash, never other weights.
TEST_F(PackFileTest, EveryWrongByteIsFound) {
  const Bytes packed = numbered(kPackChunkBytes + 700);
  const PackKey key = key_of(packed);
  ASSERT_TRUE(write_pack(path_, key, packed).ok());
  const Bytes good = file();
  const size_t head = good.size() - packed.size();
  std::vector<size_t> places;
  for (size_t at = 0; at < 80 + 2 * 8; ++at) places.push_back(at);
  for (size_t at = head; at < good.size(); at += 99'991) places.push_back(at);
  places.push_back(good.size() - 1);
  Bytes read(packed.size());
  for (const size_t at : places) {
    Bytes bad = good;
    bad[at] ^= std::byte{0x40};
    set_file(bad);
    const absl::Status status = read_all(key, read);
    EXPECT_TRUE(at < head ? absl::IsFailedPrecondition(status) : absl::IsDataLoss(status))
        << at << " " << status;
  }
}

TEST_F(PackFileTest, EveryCutIsFound) {
  const Bytes packed = numbered(5000);
  const PackKey key = key_of(packed);
  ASSERT_TRUE(write_pack(path_, key, packed).ok());
  const Bytes good = file();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{79}, size_t{80}, size_t{88}, size_t{4095},
                            size_t{4096}, good.size() - 1, good.size() + 1}) {
    Bytes bad = good;
    bad.resize(size);
    set_file(bad);
    EXPECT_THAT(why(key), testing::AnyOf(testing::HasSubstr("not a pack file"),
                                         testing::HasSubstr("bytes instead of")))
        << size;
  }
}

TEST_F(PackFileTest, OneThatShrinksWhileItIsReadIsDataLoss) {
  const Bytes packed = numbered(2 * kPackChunkBytes);
  ASSERT_TRUE(write_pack(path_, key_of(packed), packed).ok());
  const PackFile pack = PackFile::open(path_, key_of(packed)).value();
  std::filesystem::resize_file(path_, 4096 + 100);
  Bytes read(static_cast<size_t>(kPackChunkBytes));
  EXPECT_TRUE(absl::IsDataLoss(pack.read(0, read)));
  EXPECT_TRUE(absl::IsDataLoss(pack.read(kPackChunkBytes, read)));
}

TEST_F(PackFileTest, OtherThingsByThatNameAreRefused) {
  std::filesystem::create_directory(path_);
  EXPECT_THAT(why({}), testing::HasSubstr("a folder"));
  std::filesystem::remove(path_);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(why({}), testing::HasSubstr("not a regular file"));
}

TEST_F(PackFileTest, WritersAndReadersAtOnceSeeWholeFilesOnly) {
  const Bytes packed = numbered(kPackChunkBytes + 10);
  const PackKey key = key_of(packed);
  ASSERT_TRUE(write_pack(path_, key, packed).ok());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 5; ++repeat) {
        Bytes read(packed.size());
        EXPECT_TRUE(i < 2 ? write_pack(path_, key, packed).ok() : read_all(key, read).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files(), 1);
}

TEST_F(PackFileTest, WhatCannotBeWrittenLeavesNothing) {
  const Bytes packed = numbered(10);
  const absl::Status missing = write_pack(folder_ + "/no/some.pack", key_of(packed), packed);
  EXPECT_THAT(std::string(message_of(missing)), testing::HasSubstr("No such file or directory"));
  std::filesystem::create_directories(path_ + "/full");
  EXPECT_FALSE(write_pack(path_, key_of(packed), packed).ok());
  EXPECT_EQ(files(), 1);
}

}  // namespace
}  // namespace millrace
