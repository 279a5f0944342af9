#include "models/packing/pack_cache.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "models/load.h"
#include "models/random.h"

namespace millrace {
namespace {

RandomModelShape shape_of(DType format, uint64_t seed = 1) {
  RandomModelShape shape;
  shape.architecture = "qwen2";
  shape.width = 256;
  shape.hidden = 512;
  shape.heads = 4;
  shape.head_dim = 64;
  shape.format = format;
  shape.seed = seed;
  return shape;
}

class PackCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_);
    write_model(shape_of(DType::kQ8_0));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write_model(const RandomModelShape& shape) const {
    const auto file = random_model(shape).value();
    std::ofstream(model_, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), std::ssize(file));
  }

  absl::StatusOr<std::unique_ptr<Model>> load(bool with_cache = true) {
    LoadOptions options;
    if (with_cache) options.pack_cache = packs_;
    ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(model_));
    ASSIGN_OR_RETURN(auto model, load_model(checkpoint, options, lanes_));
    model->begin_reading();
    return model;
  }
  // The weights of a model loaded with the cache are those of one loaded without.
  void expect_right(bool from_pack) {
    const auto plain = load(false).value();
    const auto model = load().value();
    EXPECT_EQ(model->is_from_pack(), from_pack);
    ASSERT_EQ(model->await_weights(lanes_), absl::OkStatus());
    expect_same(*model, *plain);
    model->await_pack();
  }
  static void expect_same(const Model& a, const Model& b) {
    ASSERT_EQ(a.matrix_memory().size(), b.matrix_memory().size());
    EXPECT_EQ(
        std::memcmp(a.matrix_memory().data(), b.matrix_memory().data(), a.matrix_memory().size()),
        0);
    const auto offset = [](const Model& model) {
      return model.network().head.matrix().panel(0) - model.matrix_memory().data();
    };
    EXPECT_EQ(offset(a), offset(b));
    EXPECT_TRUE(
        std::ranges::equal(a.network().output_norm->weight, b.network().output_norm->weight));
  }

  std::vector<std::filesystem::path> packs() const {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(packs_)) {
      paths.push_back(entry.path());
    }
    return paths;
  }
  // Inverts byte `at` of a file, counted from its end; its times stay.
  static void damage(const std::filesystem::path& path, int64_t at_from_end) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-at_from_end, std::ios::end);
    const auto byte = static_cast<char>(~file.get());
    file.seekp(-at_from_end, std::ios::end);
    file.put(byte);
  }

  const std::string folder_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-packs-{}", ::getpid());
  const std::string model_ = folder_ + "/model.gguf";
  const std::string packs_ = folder_ + "/made/here";
  LanePool lanes_{2};
};

TEST_F(PackCacheTest, TheSecondLoadReadsWhatTheFirstPacked) {
  for (const DTypeInfo& info : kDTypes) {
    write_model(shape_of(info.type));
    std::filesystem::remove_all(packs_);
    expect_right(/*from_pack=*/false);
    expect_right(/*from_pack=*/true);
    EXPECT_EQ(packs().size(), 1U) << info.name;
  }
}

TEST_F(PackCacheTest, ThePlaceOfTheModelDoesNotMatter) {
  const auto name = [&] {
    const auto checkpoint = Checkpoint::open(model_).value();
    const auto plan = plan_weights(checkpoint, read_spec(checkpoint).value()).value();
    return PackCache::open(packs_, checkpoint, plan)->path();
  };
  const std::string before = name();
  std::filesystem::rename(model_, folder_ + "/other.gguf");
  std::filesystem::copy_file(folder_ + "/other.gguf", model_);
  EXPECT_EQ(name(), before);
}

// The same size, the same head, and by utimensat the same time of change.
TEST_F(PackCacheTest, AModelFileThatChangedIsPackedAgain) {
  expect_right(false);
  struct stat before = {};
  ASSERT_EQ(::stat(model_.c_str(), &before), 0);
  damage(model_, 1000);
  const timespec times[] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, model_.c_str(), times, 0), 0);
  expect_right(false);
  EXPECT_EQ(packs().size(), 1U);
  expect_right(true);
}

TEST_F(PackCacheTest, TwoModelsHaveTwoPacks) {
  expect_right(false);
  write_model(shape_of(DType::kQ4_0));
  expect_right(false);
  EXPECT_EQ(packs().size(), 2U);
}

TEST_F(PackCacheTest, ADamagedPackIsMadeAgain) {
  expect_right(false);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(packs()[0]));
  for (const int64_t at : {int64_t{1}, int64_t{70'000}}) {
    damage(packs()[0], at);  // found when its chunk is read
    expect_right(true);
    expect_right(true);
  }
  for (const int64_t at : {size, size - 9, size - 79, size - 80, size - 87}) {
    damage(packs()[0], at);  // found when it is opened
    expect_right(false);
    expect_right(true);
  }
  for (const int64_t part : {0, 50, 4096, 100'000}) {
    std::filesystem::resize_file(packs()[0], static_cast<uintmax_t>(part));
    expect_right(false);
    expect_right(true);
  }
  EXPECT_EQ(packs().size(), 1U);
}

TEST_F(PackCacheTest, TheLogSaysOnceThatADamagedPackIsMadeAgain) {
  expect_right(false);
  damage(packs()[0], 5);
  testing::internal::CaptureStdout();
  const auto model = load().value();
  ASSERT_TRUE(model->await_weights(lanes_).ok());
  ASSERT_TRUE(model->await_weights(lanes_).ok());
  model->await_pack();
  spdlog::default_logger()->flush();
  const std::string log = testing::internal::GetCapturedStdout();
  EXPECT_EQ(std::ranges::count(log, '\n'), 1) << log;
  EXPECT_THAT(log, testing::HasSubstr(packs()[0].string() + "' is made again: bytes "));
}

TEST_F(PackCacheTest, ADamagedPackOfAModelThatHasChangedIsAnErrorThatStays) {
  expect_right(false);
  damage(packs()[0], 1);
  const auto model = load().value();
  damage(model_, 1);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = model->await_weights(lanes_);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(message_of(status)), testing::HasSubstr("the model file has changed"));
  }
}

TEST_F(PackCacheTest, LoadsAtOnceAreAllRight) {
  const auto plain = load(false).value();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      LanePool lanes(2);
      LoadOptions options;
      options.pack_cache = packs_;
      const auto checkpoint = Checkpoint::open(model_).value();
      const auto model = load_model(checkpoint, options, lanes).value();
      ASSERT_TRUE(model->await_weights(lanes).ok());
      expect_same(*model, *plain);
      model->await_pack();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(packs().size(), 1U);
  expect_right(true);
}

TEST_F(PackCacheTest, AModelMayGoBeforeItsWeightsCame) {
  expect_right(false);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(load().ok());
}

TEST_F(PackCacheTest, WhatCannotBeKeptIsNoReasonNotToLoad) {
  std::filesystem::create_directories(packs_);
  const auto checkpoint = Checkpoint::open(model_).value();
  const auto plan = plan_weights(checkpoint, read_spec(checkpoint).value()).value();
  std::filesystem::create_directories(PackCache::open(packs_, checkpoint, plan)->path() + "/full");
  expect_right(false);
}

TEST_F(PackCacheTest, WeightsThatNobodyBeganToReadComeWhenTheyAreAwaited) {
  expect_right(false);
  const auto plain = load(false).value();
  LoadOptions options;
  options.pack_cache = packs_;
  const auto model = load_model(Checkpoint::open(model_).value(), options, lanes_).value();
  ASSERT_TRUE(model->is_from_pack());
  ASSERT_TRUE(model->await_weights(lanes_).ok());
  expect_same(*model, *plain);
}

TEST_F(PackCacheTest, AFolderThatCannotBeIsRefused) {
  std::ofstream(folder_ + "/file") << "x";
  LoadOptions options;
  options.pack_cache = folder_ + "/file/packs";
  const auto checkpoint = Checkpoint::open(model_).value();
  const absl::Status status = load_model(checkpoint, options, lanes_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(message_of(status)), testing::HasSubstr("is no folder for packed"));
  const auto file = random_model({}).value();
  options.pack_cache = packs_;
  EXPECT_TRUE(absl::IsInvalidArgument(
      load_model(Checkpoint::parse(file).value(), options, lanes_).status()));
}

}  // namespace
}  // namespace millrace
