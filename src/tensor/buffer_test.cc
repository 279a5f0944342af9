#include "tensor/buffer.h"

#include <cstdint>
#include <limits>
#include <utility>

#include <gtest/gtest.h>

#include "tensor/view.h"

namespace millrace {
namespace {

TEST(Buffer, IsZeroedAlignedAndWritable) {
  for (const int64_t bytes : {1, 63, 4096, 5'000'000}) {
    absl::StatusOr<Buffer> buffer = Buffer::allocate(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(buffer->size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    EXPECT_EQ(buffer->data()[bytes - 1], std::byte{0});
    buffer->data()[bytes - 1] = std::byte{7};
    EXPECT_EQ(*buffer->as<uint8_t>(bytes - 1), 7);
  }
}

TEST(Buffer, EmptyIsEmpty) {
  const absl::StatusOr<Buffer> buffer = Buffer::allocate(0);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer->size(), 0);
  EXPECT_EQ(buffer->data(), nullptr);
}

TEST(Buffer, MovesLeaveTheBytesInPlace) {
  Buffer first = Buffer::allocate(128).value();
  std::byte* data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  second = Buffer::allocate(64).value();
  EXPECT_EQ(second.size(), 64);
}

TEST(Buffer, WhatTheSystemRefusesIsAStatus) {
  const absl::StatusOr<Buffer> buffer = Buffer::allocate(std::numeric_limits<int64_t>::max() / 2);
  EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TensorLayout, CountsRowsAndBytes) {
  const TensorLayout matrix{DType::kQ4_0, 3, {2, 3, 64, 1}};
  EXPECT_EQ(matrix.elements(), 384);
  EXPECT_EQ(matrix.width(), 64);
  EXPECT_EQ(matrix.rows(), 6);
  EXPECT_EQ(matrix.bytes(), 6 * 2 * 18);
  const TensorLayout scalar{DType::kF32, 0, {1, 1, 1, 1}};
  EXPECT_EQ(scalar.width(), 1);
  EXPECT_EQ(scalar.bytes(), 4);
}

TEST(DType, IsFoundByNumber) {
  for (const DTypeInfo& info : kDTypes) {
    EXPECT_EQ(dtype_of_gguf(info.gguf_id), info.type);
    EXPECT_EQ(info_of(info.type).name, info.name);
  }
  EXPECT_EQ(dtype_of_gguf(12345), std::nullopt);
  EXPECT_EQ(row_bytes(DType::kQ6_K, 512), 420);
}

}  // namespace
}  // namespace millrace
